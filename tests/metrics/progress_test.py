"""The progress line: live on a terminal, log lines elsewhere."""

import io

from rlvr_jax.metrics import progress


class _Terminal(io.StringIO):
  def isatty(self):
    return True


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


def test_a_log_gets_lines_and_always_the_last():
  stream = io.StringIO()
  line = progress.Progress(stream, log_every_secs=1e9)
  for step in range(1, 4):
    line.update("training", step, 3, f"x {step}")
  assert stream.getvalue() == "training 1/3 · x 1\ntraining 3/3 · x 3\n"


def test_the_time_left_is_shown_once_it_is_known():
  stream = io.StringIO()
  line = progress.Progress(stream, log_every_secs=0.0)
  line.update("training", 5, 9, "")
  line.update("training", 6, 9, "")
  first, second = stream.getvalue().splitlines()
  assert "ETA" not in first
  assert "ETA" in second


def test_saying_something_clears_the_live_line():
  stream = _Terminal()
  line = progress.Progress(stream)
  line.update("training", 1, 3, "text")
  line.say("hello")
  assert stream.getvalue().endswith("\rhello\n")
