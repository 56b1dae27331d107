"""The progress line: live on a terminal, log lines elsewhere."""

import io
import threading
import time

import pytest

from rlvr_jax.metrics import progress


class _Terminal(io.StringIO):
  def isatty(self):
    return True


class _Clock:
  """Stands still until it is moved."""

  def __init__(self):
    self.time = 100.0

  def __call__(self):
    return self.time


def test_a_terminal_line_is_redrawn_in_place():
  stream = _Terminal()
  line = progress.Progress(stream)
  line.update("training", 1, 3, "a long text")
  line.update("training", 2, 3, "short")
  shown = stream.getvalue()
  assert "\n" not in shown
  first, second = shown.split("\r")[1:]
  # The shorter line covers the whole of the longer one.
  assert len(second) >= len(first)
  assert second.startswith("training 2/3")


def test_a_terminal_line_never_wraps(monkeypatch):
  monkeypatch.setenv("COLUMNS", "20")
  stream = _Terminal()
  progress.Progress(stream).update("training", 1, 3, "x" * 100)
  assert stream.getvalue() == "\rtraining 1/3 · xxxx"


def test_a_log_gets_lines_and_always_the_last():
  stream = io.StringIO()
  line = progress.Progress(stream, log_every_secs=1e9)
  for step in range(1, 4):
    line.update("training", step, 3, f"x {step}")
  assert stream.getvalue() == "training 1/3 · x 1\ntraining 3/3 · x 3\n"


def test_the_time_left_is_shown_once_it_is_known():
  stream, clock = io.StringIO(), _Clock()
  line = progress.Progress(stream, log_every_secs=0.0, clock=clock)
  line.update("training", 5, 9, "")
  clock.time += 40
  line.update("training", 6, 9, "")
  first, second = stream.getvalue().splitlines()
  assert first == "training 5/9"
  assert second == "training 6/9 · ETA 2m 00s"


def test_saying_something_clears_the_live_line():
  stream = _Terminal()
  line = progress.Progress(stream)
  line.update("training", 1, 3, "text")
  line.say("hello")
  assert stream.getvalue().endswith("\rhello\n")


def test_the_share_of_waiting_and_the_age_of_a_checkpoint_are_told():
  stream, clock = io.StringIO(), _Clock()
  line = progress.Progress(stream, log_every_secs=0.0, clock=clock)

  def judge(number):
    clock.time += 2
    return -number

  judge = line.timed("verdicts", judge)
  line.update("training", 0, 9, "")
  assert judge(7) == -7
  clock.time += 6
  line.saved()
  clock.time += 2
  line.update("training", 1, 9, "reward 0.5")
  assert stream.getvalue().splitlines()[1] == (
    "training 1/9 · ETA 1m 20s · reward 0.5 · waited 20% for verdicts · saved"
    " 2s ago"
  )
  # Another phase counts anew.
  line.update("evaluation", 1, 9, "")
  assert "waited" not in stream.getvalue().splitlines()[2]


def test_a_log_says_what_is_waited_for_at_longer_and_longer_intervals():
  stream, clock = io.StringIO(), _Clock()
  line = progress.Progress(stream, clock=clock)
  line.now("sampling")
  for _ in range(130):
    clock.time += 1
    line.look()
  line.now("the update")
  clock.time += 29
  line.look()
  assert stream.getvalue().splitlines() == [
    "waiting for sampling, 30s so far",
    "waiting for sampling, 1m 00s so far",
    "waiting for sampling, 2m 00s so far",
  ]


def test_nothing_is_waited_for_between_steps():
  stream, clock = io.StringIO(), _Clock()
  line = progress.Progress(stream, clock=clock)
  line.now("the update")
  line.update("training", 1, 9, "")
  clock.time += 1000
  line.look()
  assert stream.getvalue() == "training 1/9\n"


def test_what_waits_is_named_again_after_what_it_waited_for():
  stream, clock = io.StringIO(), _Clock()
  line = progress.Progress(stream, clock=clock)
  line.now("sampling")

  def fail():
    raise ZeroDivisionError

  with pytest.raises(ZeroDivisionError):
    line.timed("verdicts", fail)()
  clock.time += 31
  line.look()
  assert stream.getvalue() == "waiting for sampling, 31s so far\n"


def test_a_thread_looks_while_the_run_stands_and_ends_with_it(monkeypatch):
  monkeypatch.setattr(progress, "_LOOK_EVERY_SECS", 0.01)
  monkeypatch.setattr(progress, "_PATIENCE_SECS", 0.05)
  stream = _Terminal()
  threads = threading.active_count()
  with progress.Progress(stream) as line:
    line.now("sampling")
    deadline = time.monotonic() + 10
    while "waiting for sampling" not in stream.getvalue():
      assert time.monotonic() < deadline
      time.sleep(0.01)
  while threading.active_count() > threads:
    assert time.monotonic() < deadline
    time.sleep(0.01)


def test_a_silent_one_writes_nothing():
  stream = io.StringIO()
  with progress.Progress(stream, is_silent=True) as line:
    line.now("sampling")
    line.say("hello")
    line.update("training", 1, 1, "")
  assert stream.getvalue() == ""


@pytest.mark.parametrize(
  ("secs", "text"),
  [(0.4, "0s"), (59.6, "1m 00s"), (200, "3m 20s"), (7500, "2h 05m")],
)
def test_durations_are_said_as_people_do(secs, text):
  assert progress.duration(secs) == text
