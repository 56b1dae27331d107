"""Programs and texts that are to break the verifier of code, in a pool.

What a program can do to its sandbox is another question; here it is what the
pool says of it. All programs would be harmless without a sandbox as well.
"""

import collections
import json

import pytest

from rlvr_jax.verifiers import fragments
from rlvr_jax.verifiers import hostile
from rlvr_jax.verifiers import pool as pool_lib
from rlvr_jax.verifiers import sandbox

_DEADLINE = 10.0
_OPTIONS = {"test_secs": 1.0, "total_secs": 4.0}
_PRINTS = json.dumps({"inputs": ["3", "8"], "outputs": ["4", "9"]})
_CALLS = json.dumps({"fn_name": "f", "inputs": [[3], [8]], "outputs": [4, 9]})
_RIGHT = (
  "def f(x): return x + 1\nif __name__ == '__main__': print(f(int(input())))"
)

# Not one of these computes x + 1.
_PROGRAMS = {
  "nothing": "",
  "constant": "def f(x): return 4\nprint(4)",
  "both_outputs": "def f(x): return [4, 9]\nprint(4)\nprint(9)",
  "echo": "def f(x): return x\nprint(input())",
  "loop": "while True: pass",
  "loop_in_call": "def f(x):\n  while True: pass",
  "sleep": "import time\ntime.sleep(60)",
  "recursion": "def f(x): return f(x)\nf(1)",
  "power": "print(9**9**9)",
  "digits": f"print({'7' * 1_000_000})",
  "memory": "x = 'x' * 10**11",
  "memory_by_and_by": "x = []\nwhile True: x.append('x' * 10**7)",
  "output": "while True: print('4' * 10**6)",
  "exit": "import os\nos._exit(0)",
  "system_exit": "raise SystemExit('correct')",
  "own_end": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
  "segfault": "import ctypes\nctypes.string_at(0)",
  "reply": f"print({json.dumps(fragments.GRADER['reply'])!r})",
  "value": "print('{\"value\": 4}')\nprint('{\"passed\": true}')",
  "any_descriptor": "import os\nfor n in range(3, 40):\n  try: os.write(n,"
  " b'{\"value\": 4}\\n')\n  except OSError: pass",
  "equal_to_all": "class X(int):\n  def __eq__(self, other): return True\n"
  "  def __ne__(self, other): return False\n  __hash__ = None\n"
  "def f(x): return X(0)",
  "assertions_off": "import builtins\nbuiltins.AssertionError = ValueError",
  "last_line": "def f(x): return 4 if x == 3 else 10\nprint(4)",
  "deep_parentheses": "print(" + "(" * 5_000 + "4" + ")" * 5_000 + ")",
  "deep_indents": "\n".join(" " * n + "if 1:" for n in range(300)),
  "nul": "print(4)\x00",
  "surrogate": "print('\ud800')",
  "not_python": r"\boxed{4}",
}


def _cases():
  """(case, gold) pairs."""
  fenced = lambda program: f"```python\n{program}\n```"
  for gold in (_PRINTS, _CALLS):
    for name, program in _PROGRAMS.items():
      yield hostile.Case(f"program/{name}", fenced(program), False), gold
    for name, noise in {**fragments.BYTES, **fragments.GRADER}.items():
      before = f"{noise}\n{fenced(_RIGHT)}"
      yield hostile.Case(f"plain/{name}", before, True), gold
    yield hostile.Case("unclosed", f"```python\n{_RIGHT}", False), gold
    yield hostile.Case("unfenced", _RIGHT, False), gold
    both = f"{fenced(_RIGHT)} or rather {fenced('print(5)')}"
    yield hostile.Case("last_is_wrong", both, False), gold
    yield hostile.Case("fences", "```" * 100_000, False), gold
    yield hostile.Case("lines_of_fences", "```\n" * 100_000, False), gold
    yield hostile.Case("ticks", "`" * 1_000_000, False), gold
  for case in hostile.generated(0, 300, ("40817",)):
    yield case._replace(is_correct=False), _PRINTS


def _judged(cases):
  """Verdicts counted by outcome, after the laws that hold for each."""
  if not sandbox.available():
    pytest.skip("no sandbox holds on this machine")
  config = pool_lib.PoolConfig(
    verifier="code",
    options=_OPTIONS,
    num_workers=2,
    deadline_secs=_DEADLINE,
    max_unjudged_frac=1.0,
  )
  with pool_lib.Pool(config) as pool:
    verdicts = pool.verify([(case.response, gold) for case, gold in cases])
  counts = collections.Counter(verdict.outcome for verdict in verdicts)
  for (case, _), verdict in zip(cases, verdicts, strict=True):
    told = (case.name, ascii(case.response[:200]), verdict)
    assert verdict.seconds <= _DEADLINE + 1.0, told
    if verdict.message:
      assert verdict.outcome in ("timeout", "crash"), told
    else:
      assert verdict.outcome in ("correct", "wrong", "unparsed"), told
      assert (verdict.outcome == "correct") == case.is_correct, told
  # Where the machine is too busy to start sandboxes, nothing is known.
  assert counts["timeout"] + counts["crash"] <= 5, counts
  return counts


def test_hostile_programs_are_judged():
  counts = _judged(list(_cases()))
  for outcome in ("correct", "wrong", "unparsed"):
    assert counts[outcome] > 30, counts


@pytest.mark.slow
def test_ten_thousand_responses():
  """Texts as they are, and one in ten of them as a program."""
  cases = [
    (case._replace(is_correct=False), _PRINTS)
    for case in hostile.generated(1, 10_000, ("40817",))
  ]
  cases += [
    (case._replace(response=f"```python\n{case.response}\n```"), gold)
    for case, gold in cases[::10]
  ]
  counts = _judged(cases)
  assert counts["unparsed"] > 1_000 and counts["wrong"] > 500, counts
