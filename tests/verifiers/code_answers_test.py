"""A program passes if it does what the tests ask for, and in no other way."""

import json
import time

import pytest

from rlvr_jax import errors
from rlvr_jax.outcomes import Judged
from rlvr_jax.verifiers import code_answers
from rlvr_jax.verifiers import pool as pool_lib
from rlvr_jax.verifiers import sandbox
from rlvr_jax.verifiers import sandbox_commands
from rlvr_jax.verifiers import sandbox_session
from tests.verifiers import sandboxed

_SECS = 0.5
_TWICE = json.dumps({"inputs": ["3\n", "40"], "outputs": ["6\n", "80\n"]})
_ADD = json.dumps(
  {"fn_name": "add", "inputs": [[1, 2], [[1], [2]]], "outputs": [3, [1, 2]]}
)
_SQUARE = json.dumps(
  {
    "asserts": [
      "assert square(2) == 4",
      "assert (9.0, {'a': None}) == (square(3), dict(a=None)), 'message'",
      "assert abs(square(0.1) - 0.01) < 1e-9",
    ]
  }
)


# --- Right and wrong, in every form.


@pytest.mark.parametrize(
  "program, gold, outcome",
  [
    ("print(2 * int(input()))", _TWICE, "correct"),
    ("print(int(input()) + 3)", _TWICE, "wrong"),
    ("print(2 * int(input()), end='  \\n\\n')", _TWICE, "correct"),
    ("print(2 * int(input()), 'done')", _TWICE, "wrong"),
    ("print(2 * int(input()))\nraise ValueError", _TWICE, "wrong"),
    ("print(2 * int(input()))\nimport os; os._exit(1)", _TWICE, "wrong"),
    ("print(2 * int(input())", _TWICE, "wrong"),
    ("def add(x, y): return x + y", _ADD, "correct"),
    ("class Solution:\n  def add(self, x, y): return x + y", _ADD, "correct"),
    ("def add(x: List[int], y): return x + y", _ADD, "correct"),
    ("def add(x, y):\n  print(x)\n  return x + y", _ADD, "correct"),
    ("def add(x, y): return tuple([x, y][:1]) if x == 1 else 0", _ADD, "wrong"),
    ("def add(x, y): return 3", _ADD, "wrong"),
    ("def added(x, y): return x + y", _ADD, "wrong"),
    ("def add(x): return x", _ADD, "wrong"),
    ("def add(x, y): return object()", _ADD, "wrong"),
    ("def add(x, y): print(x + y)", _ADD, "wrong"),
    ("add = 3", _ADD, "wrong"),
    ("def square(x): return x * x", _SQUARE, "correct"),
    ("def square(x): return x * (x + 1)", _SQUARE, "wrong"),
    ("def square(x): return x * x if x > 1 else 1", _SQUARE, "wrong"),
    ("def square(x): return str(x * x)", _SQUARE, "wrong"),
  ],
)
def test_a_program_is_right_if_it_passes_all_tests(program, gold, outcome):
  assert sandboxed.judged(program, gold) == outcome


def test_a_tuple_is_a_list_as_a_returned_value_but_not_in_an_assert():
  program = "def f(): return (1, 2)"
  call = json.dumps({"fn_name": "f", "inputs": [[]], "outputs": [[1, 2]]})
  assert sandboxed.judged(program, call) == "correct"
  for value, outcome in {"(1, 2)": "correct", "[1, 2]": "wrong"}.items():
    gold = json.dumps({"asserts": [f"assert f() == {value}"]})
    assert sandboxed.judged(program, gold) == outcome


def test_values_of_every_builtin_type_are_compared_outside():
  values = (
    "[None, True, 1.5, 'é\\n', b'x', 2j, (1, [2]), {1, 2}, {(1, 2): {3: 4}},"
    " frozenset({5}), float('inf'), 10**30, {}, set()]"
  )
  literal = (
    "[None, True, 1.5, 'é\\n', b'x', 2j, (1, [2]), {2, 1}, {(1, 2): {3: 4}},"
    " {5}, 1e999, 10**30, {}, set()]"
  ).replace("10**30", str(10**30))
  gold = json.dumps({"asserts": [f"assert f() == {literal}"]})
  program = (
    "import collections\n"
    f"def f(): return {values}\n"
    "def g(): return collections.Counter('aab')\n"
  )
  assert sandboxed.judged(program, gold, inside_asserts=False) == "correct"
  gold = json.dumps({"asserts": ["assert g() == {'a': 2, 'b': 1}"]})
  assert sandboxed.judged(program, gold, inside_asserts=False) == "correct"


@pytest.mark.parametrize(
  "program",
  [
    "while True: pass",
    "import time\ntime.sleep(1000)",
    "x = []\nwhile True: x.append(bytearray(2**20))",
    "while True: print('x' * 10_000)",
    "import os\nos.fork()\nos.fork()",
    "import os\nos.kill(os.getpid(), 9)",
  ],
)
def test_what_takes_too_much_is_wrong(program):
  limits = dict(test_secs=_SECS, memory_mib=200)
  indented = program.replace("\n", "\n  ")
  for text, gold in {
    f"{program}\nprint(2 * int(input()))": _TWICE,
    f"{program}\ndef add(x, y): return x + y": _ADD,
    f"def add(x, y):\n  {indented}\n  return x + y": _ADD,
  }.items():
    if "print('x'" in program and gold == _ADD:
      # What a function prints is not looked at, only how long it takes.
      continue
    assert sandboxed.judged(text, gold, **limits) == "wrong"


# --- Which text, which gold.


@pytest.mark.parametrize(
  "response, program",
  [
    ("no code at all", None),
    ("inline `x = 1` and ```python x = 1```", None),
    ("```python\nx = 1\n```", "x = 1"),
    ("```py\nx = 1\n```", "x = 1"),
    ("```Python3 title=a\nx = 1\n```  \n", "x = 1"),
    ("```\nx = 1\n```", "x = 1"),
    ("```python\nx = 1\n```\nor\n```python\nx = 2\n```", "x = 2"),
    ("```python\nx = 1\n```\nIt prints\n```\n1\n```", "x = 1"),
    ("```cpp\nint x;\n```", None),
    ("```\nx = 1\n```\n```sh\nls\n```", "x = 1"),
    ("```python\nx = 1\n```\n```python\nx = 2", ""),
    ("```python\nx = 1\n```\n```text\nx = 2", "x = 1"),
    ("````python\n'''\n```\n'''\n````", "'''\n```\n'''"),
    ("1. first\n   ```python\n   if x:\n     y\n   ```", "if x:\n  y"),
    ("```python\nx = 1\n```</think>none", None),
    ("<think>```python\nx = 1</think>\n```python\nx = 2\n```", "x = 2"),
    ("```python\n```", ""),
    ("```python\r\nx = 1\r\n```\r\n", "x = 1\r"),
  ],
)
def test_the_program_is_the_last_block_of_python(response, program):
  assert code_answers.program_of(response) == program
  if not program:
    judged = code_answers.passes_tests(response, _TWICE)
    assert judged == Judged("unparsed", program)


@pytest.mark.parametrize("gold", ["", "[]", "{}", '{"inputs": []}'])
def test_a_gold_that_is_no_test_is_told_before_all_else(gold):
  for response in (sandboxed.block("x = 1"), "nothing"):
    judged = code_answers.passes_tests(response, gold)
    assert judged.outcome == "gold_unparsed"


@pytest.mark.parametrize(
  "options, start",
  [
    ({"tolerance": -1.0}, "tolerance is -1.0: set it to 0 or above"),
    ({"test_secs": 0}, "seconds is 0: set it above 0"),
    ({"sandbox": "docker"}, "sandbox is 'docker': choose one of auto,"),
  ],
)
def test_options_out_of_range_are_refused(options, start):
  with pytest.raises(errors.UserError) as caught:
    code_answers.passes_tests(sandboxed.block("x = 1"), _TWICE, **options)
  assert str(caught.value).startswith(start)


# --- Whose fault it is.


def test_a_program_that_takes_all_the_time_is_wrong():
  program = "import time\ntime.sleep(0.4)\nprint(2 * int(input()))"
  gold = json.dumps({"inputs": ["1"] * 9, "outputs": ["2"] * 9})
  assert sandboxed.judged(program, gold, total_secs=1.0) == "wrong"
  program = "import time\ndef add(x, y):\n  time.sleep(0.3)\n  return x + y"
  gold = {"fn_name": "add", "inputs": [[1, 2]] * 9, "outputs": [3] * 9}
  assert sandboxed.judged(program, json.dumps(gold), total_secs=1.0) == "wrong"


def test_a_sandbox_that_takes_all_the_time_is_no_verdict(monkeypatch):
  def run(*_):
    time.sleep(0.1)
    return sandbox_session.Result("exited", 0, "2", "", 0.01)

  monkeypatch.setattr(sandbox, "run", run)
  gold = json.dumps({"inputs": ["1"] * 9, "outputs": ["2"] * 9})
  with pytest.raises(TimeoutError, match="total_secs 0.3 ended after 3 of 9"):
    sandboxed.judged("print(2)", gold, total_secs=0.3)


@pytest.mark.parametrize("gold", [_TWICE, _ADD])
def test_a_sandbox_that_fails_is_no_verdict(monkeypatch, gold):
  name = sandbox.choose()
  failing = ["sh", "-c", "echo 'no such namespace' >&2; exit 1"]
  monkeypatch.setattr(sandbox_commands, "command", lambda *_: failing)
  with pytest.raises(sandbox_session.SandboxError) as caught:
    sandboxed.judged("x = 1", gold)
  assert str(caught.value) == f"{name}: no such namespace"


# --- In the pool.


def test_the_pool_judges_programs():
  config = pool_lib.PoolConfig(
    verifier="code",
    options={"test_secs": _SECS, "memory_mib": 200, "inside_asserts": True},
    num_workers=1,
    deadline_secs=20.0,
    max_unjudged_frac=1.0,
  )
  right = sandboxed.block("print(2 * int(input()))")
  items = [
    (right, _TWICE),
    (sandboxed.block("print(2)"), _TWICE),
    (sandboxed.block("while True: pass"), _TWICE),
    (sandboxed.block("x = [0]\nwhile True: x += x"), _TWICE),
    (sandboxed.block("import os\nos.kill(os.getpid(), 15)"), _TWICE),
    (sandboxed.block("def add(x, y): return x + y"), _ADD),
    ("none", _TWICE),
    (right, "none"),
    (right, _TWICE),
  ]
  with pool_lib.Pool(config) as pool:
    verdicts = pool.verify(items)
    assert pool_lib.unread_golds(pool, [_TWICE, "x", _SQUARE]) == {
      1: "gold_unparsed"
    }
  assert [verdict.outcome for verdict in verdicts] == (
    ["correct", "wrong", "wrong", "wrong", "wrong", "correct"]
    + ["unparsed", "gold_unparsed", "correct"]
  )
  assert verdicts[0].answer == "print(2 * int(input()))"


@pytest.mark.parametrize("name", sandbox.BACKENDS)
def test_nothing_outlives_the_deadline_of_the_pool(name):
  if name not in sandbox.available():
    pytest.skip(f"{name} does not hold here")
  config = pool_lib.PoolConfig(
    verifier="code",
    options={"test_secs": 60.0, "total_secs": 60.0, "sandbox": name},
    num_workers=1,
    deadline_secs=1.5,
    max_unjudged_frac=1.0,
  )
  marker, program = sandboxed.marked("import time\ntime.sleep(1000)")
  with pool_lib.Pool(config) as pool:
    (verdict,) = pool.verify([(sandboxed.block(program), _TWICE)])
    assert verdict.outcome == "timeout"
    until = time.monotonic() + 10
    while sandboxed.named(marker) and time.monotonic() < until:
      time.sleep(0.02)
    assert not sandboxed.named(marker)
