"""Whatever one item does, the others are judged, and nothing stays behind."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from rlvr_jax import errors
from rlvr_jax import settings
from rlvr_jax.verifiers import pool as pool_lib

_OBEY = "tests.verifiers.obedient:obey"
_DEADLINE = 2.0


def _config(**changes):
  return pool_lib.PoolConfig(
    **{
      "verifier": _OBEY,
      "num_workers": 2,
      "deadline_secs": _DEADLINE,
      "memory_mib": 1024,
      "max_unjudged_frac": 1.0,
    }
    | changes
  )


@pytest.fixture(scope="module")
def pool():
  with pool_lib.Pool(_config()) as opened:
    yield opened


def _ask(pool, *responses):
  return pool.verify([(response, "gold") for response in responses])


def _outcomes(verdicts):
  return [verdict.outcome for verdict in verdicts]


def _is_gone(pid):
  """Whether a process has ended; a zombie has."""
  try:
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
  except (FileNotFoundError, ProcessLookupError):
    return True
  return stat.rpartition(")")[2].split()[0] in "ZX"


def _wait_until_gone(pids, secs=10.0):
  until = time.monotonic() + secs
  while time.monotonic() < until and not all(map(_is_gone, pids)):
    time.sleep(0.02)
  assert all(map(_is_gone, pids)), pids


def test_verdicts_come_in_the_order_of_the_items(pool):
  responses = ["sleep 0.3", "gold", "no", "sleep 0.1", "gold", "no"]
  assert _outcomes(_ask(pool, *responses)) == (
    ["wrong", "correct", "wrong", "wrong", "correct", "wrong"]
  )
  assert pool.verify([]) == []


def test_a_hanging_item_costs_its_own_deadline_and_nothing_else(pool):
  start = time.monotonic()
  verdicts = _ask(pool, *["gold"] * 20, "hang", *["gold"] * 20)
  took = time.monotonic() - start
  assert (
    _outcomes(verdicts) == ["correct"] * 20 + ["timeout"] + ["correct"] * 20
  )
  assert verdicts[20].message == "killed after 2.0 s"
  assert _DEADLINE <= verdicts[20].seconds < took < 3 * _DEADLINE


def test_arithmetic_that_never_yields_is_stopped_too(pool):
  verdicts = _ask(pool, "grind", "gold")
  assert _outcomes(verdicts) == ["timeout", "correct"]


@pytest.mark.parametrize(
  "response, reason",
  [
    ("segfault", "killed by SIGSEGV"),
    ("exit", "exited with status 3"),
    ("quit", "SystemExit: bye"),
    ("raise", "ZeroDivisionError: as told"),
    ("fill", "MemoryError: "),
  ],
)
def test_a_crash_tells_its_reason_and_the_worker_is_replaced(
  pool, response, reason
):
  verdicts = _ask(pool, "gold", response, "gold", "no", "gold")
  assert _outcomes(verdicts) == (
    ["correct", "crash", "correct", "wrong", "correct"]
  )
  assert verdicts[1].message == reason


def test_what_a_verifier_prints_or_reads_is_not_the_protocol(capfd):
  with pool_lib.Pool(_config(num_workers=1)) as pool:
    verdicts = _ask(pool, "print", "gold", "read", "no")
  assert _outcomes(verdicts) == ["wrong", "correct", "correct", "wrong"]
  assert verdicts[2].answer == "''"
  out, err = capfd.readouterr()
  assert out == "" and err.count("x") == 100_000 and "noise" in err


def test_texts_arrive_as_they_are(pool):
  texts = ["", "ü\ud800\x00\n€", "\\boxed{" * 200_000]
  verdicts = pool.verify([(text, text) for text in texts])
  assert _outcomes(verdicts) == ["correct"] * 3


def test_a_worker_imports_no_jax(pool):
  assert _ask(pool, "modules")[0].answer == "[]"


def test_a_worker_does_not_hear_what_its_parent_is_to(pool):
  assert _outcomes(_ask(pool, "interrupt")) == ["wrong"]


def test_workers_are_replaced_after_so_many_items():
  with pool_lib.Pool(_config(num_workers=1, recycle_after=3)) as pool:
    verdicts = _ask(pool, *["calls"] * 8)
  assert [v.answer for v in verdicts] == [
    "1",
    "2",
    "3",
    "1",
    "2",
    "3",
    "1",
    "2",
  ]


def test_a_worker_killed_while_idle_harms_no_item():
  with pool_lib.Pool(_config(num_workers=1)) as pool:
    first = int(_ask(pool, "pid")[0].answer)
    os.kill(first, signal.SIGKILL)
    _wait_until_gone([first])
    assert _outcomes(_ask(pool, "gold")) == ["correct"]


def test_neither_workers_nor_what_they_start_outlive_the_context():
  with pool_lib.Pool(_config()) as pool:
    told = _ask(pool, "pid", "sleep 0.2", "pid", "pid", "spawn", "spawn")
    pids = [int(verdict.answer) for verdict in told if verdict.answer]
    assert not any(map(_is_gone, pids))
  _wait_until_gone(pids)
  with pytest.raises(errors.UserError, match="the pool is closed"):
    _ask(pool, "gold")


_PARENT = """
import sys
from rlvr_jax.verifiers import pool as pool_lib
config = pool_lib.PoolConfig(verifier="tests.verifiers.obedient:obey",
                             num_workers=2, deadline_secs=60.0)
with pool_lib.Pool(config) as pool:
  items = [("pid", ""), ("sleep 0.2", ""), ("pid", "")] * 4
  print(*{v.answer for v in pool.verify(items) if v.answer}, flush=True)
  pool.verify([(word, "") for word in sys.argv[1:]])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(number):
  parent = subprocess.Popen(
    [sys.executable, "-c", _PARENT, "hang", "grind"],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  pids = list(map(int, parent.stdout.readline().split()))
  assert pids
  # Both workers are busy now, one of them deaf to everything but the kernel.
  time.sleep(0.3)
  assert not any(map(_is_gone, pids))
  parent.send_signal(number)
  _, trace = parent.communicate(timeout=20)
  _wait_until_gone(pids)
  assert ("KeyboardInterrupt" in trace) == (number == signal.SIGINT)


def test_too_many_failures_stop_the_run_with_examples():
  config = _config(max_unjudged_frac=0.25, unjudged_window=8)
  with pool_lib.Pool(config) as pool:
    _ask(pool, *["raise"] * 2, *["gold"] * 6)
    with pytest.raises(errors.UserError) as caught:
      _ask(pool, *["raise 1"] * 5, *["gold"] * 50)
    # Counted anew, and nothing of the items before is left over.
    verdicts = _ask(pool, *["gold"] * 20)
  assert _outcomes(verdicts) == ["correct"] * 20
  message = str(caught.value)
  assert "3 of the last 8 responses could not be judged" in message
  assert "max_unjudged_frac 0.25" in message
  assert message.count("'raise 1' for gold 'gold': crash") in (1, 2, 3)
  assert "\n" not in message


@pytest.mark.parametrize(
  "changes, start",
  [
    ({"verifier": "maht"}, "verifier is 'maht': did you mean 'math'?"),
    ({"num_workers": 0}, "num_workers is 0: set it above 0"),
    ({"deadline_secs": -1.0}, "deadline_secs is -1.0: set it above 0"),
    ({"max_unjudged_frac": 1.5}, "max_unjudged_frac is 1.5: set it within"),
    ({"options": {"x": {1}}}, "options is {'x': {1}}, which no worker"),
  ],
)
def test_settings_out_of_range_are_refused(changes, start):
  with pytest.raises(errors.UserError) as caught:
    _config(**changes)
  assert str(caught.value).startswith(start)


@pytest.mark.parametrize(
  "changes, start",
  [
    ({"verifier": "tests.nowhere:f"}, "verifier is 'tests.nowhere:f', which"),
    ({"verifier": "json:lods"}, "verifier is 'json:lods', which cannot be"),
    (
      {"options": {"polit": True}},
      f"verifier {_OBEY!r} has no option 'polit': did you mean 'polite'?",
    ),
    ({"memory_mib": 8}, "memory_mib is 8, which the verifier's imports fill"),
  ],
)
def test_a_verifier_that_cannot_start_is_one_sentence(changes, start):
  with (
    pytest.raises(errors.UserError) as caught,
    pool_lib.Pool(_config(**changes)),
  ):
    pass
  assert str(caught.value).startswith(start)


@pytest.mark.parametrize(
  "response, start",
  [
    ("fault", "obey is 1: set it to 2"),
    ("nonsense", "the verifier returned 'maybe': choose one of correct"),
  ],
)
def test_a_fault_of_the_verifier_is_told_and_the_pool_goes_on(
  pool, response, start
):
  with pytest.raises(errors.UserError) as caught:
    _ask(pool, response, *["gold"] * 5)
  assert str(caught.value).startswith(start)
  assert _outcomes(_ask(pool, "gold", "no")) == ["correct", "wrong"]


def test_options_reach_the_verifier_from_a_block_of_settings():
  block = {
    "verifier": _OBEY,
    "num_workers": 1,
    "options": {"polite": True},
    "deadline_secs": 3,
  }
  config = settings.typed(pool_lib.PoolConfig, block, "config.verifiers")
  with pool_lib.Pool(config) as pool:
    assert _ask(pool, "polite")[0].answer == "True"


def test_a_gold_that_cannot_be_read_is_named_with_its_row():
  config = _config(verifier="numeric")
  with pool_lib.Pool(config) as pool:
    pool_lib.check_golds(pool, ["1/2", "3"])
    with pytest.raises(errors.UserError) as caught:
      pool_lib.check_golds(pool, ["1/2", "two", "3"], "train.jsonl")
  assert str(caught.value) == (
    "train.jsonl[1] is 'two', which the verifier cannot read (gold_unparsed):"
    " mend the row or leave it out"
  )
