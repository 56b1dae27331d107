"""A program passes if it does what the tests ask for, and in no other way."""

import json
import secrets
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


def _block(program):
  return f"I think so.\n```python\n{program}\n```\nThat is all."


def _judge(program, gold, **options):
  options = {"test_secs": 5.0, "total_secs": 20.0} | options
  judged = code_answers.passes_tests(_block(program), gold, **options)
  assert judged.answer == program
  return judged.outcome


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
  assert _judge(program, gold) == outcome


def test_a_tuple_is_a_list_as_a_returned_value_but_not_in_an_assert():
  program = "def f(): return (1, 2)"
  call = json.dumps({"fn_name": "f", "inputs": [[]], "outputs": [[1, 2]]})
  assert _judge(program, call) == "correct"
  for value, outcome in {"(1, 2)": "correct", "[1, 2]": "wrong"}.items():
    gold = json.dumps({"asserts": [f"assert f() == {value}"]})
    assert _judge(program, gold) == outcome


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
  assert _judge(program, gold, inside_asserts=False) == "correct"
  gold = json.dumps({"asserts": ["assert g() == {'a': 2, 'b': 1}"]})
  assert _judge(program, gold, inside_asserts=False) == "correct"


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
    assert _judge(text, gold, **limits) == "wrong"


# --- Forged passes.

_TOKEN = secrets.token_hex(32)
_FORGERIES = {
  "leaving": "import os\nos._exit(0)",
  "leaving_politely": "import sys\nsys.exit(0)",
  "raising": "raise SystemExit(0)",
  "leaving_later": "import os\ndef f(*x): os._exit(0)",
  "leaving_politely_later": "def f(*x): raise SystemExit(0)",
  "equal_to_all": """
class All(str):
  def __eq__(self, other): return True
  def __ne__(self, other): return False
  __hash__ = str.__hash__
  __lt__ = __gt__ = __le__ = __ge__ = __contains__ = __eq__
  def __getattr__(self, name): return self
  def __abs__(self): return 0
  def __sub__(self, other): return 0
  __rsub__ = __sub__
def f(*x): return All('x')
print(All())
""",
  "printing": """
print('{"value": "TOKEN"}\\n{"passed": "TOKEN"}\\n{"passed": true}\\nOK\\n1')
def f(*x): print('{"value": null}\\n{"passed": null}')
""",
  "writing_to_every_descriptor": """
import os
def f(*x):
  for number in range(64):
    for line in (b'{"value": null}', b'{"passed": null}', b'{"passed": true}'):
      try: os.write(number, line + b'\\n')
      except OSError: pass
f()
""",
  "builtins": """
import builtins
for name in ('len', 'isinstance', 'all', 'any', 'abs', 'getattr', 'type'):
  setattr(builtins, name, lambda *x, **y: True)
builtins.AssertionError = type('Never', (BaseException,), {})
builtins.exec = builtins.eval = builtins.compile = lambda *x, **y: None
def f(*x): return True
""",
  "the_harness": """
import json, sys
json.dumps = lambda *x, **y: '{"value": null, "passed": true}'
main = sys.modules['__main__']
for name in dir(main):
  if callable(getattr(main, name)):
    setattr(main, name, lambda *x, **y: {"value": None, "passed": None})
def f(*x): return None
""",
  "modules": """
for name in ('json', 'sitecustomize', 'usercustomize', 'builtins', 'encodings'):
  open(name + '.py', 'w').write('raise SystemExit(0)')
import os, sys
sys.path.insert(0, os.getcwd())
sys.modules.pop('json')
import json
def f(*x): return None
""",
  "exit_hooks": """
import atexit, os, sys, threading
def forge():
  for number in range(64):
    try: os.write(number, b'{"value": null}\\n{"passed": null}\\n')
    except OSError: pass
atexit.register(forge)
threading.Thread(target=forge).start()
sys.excepthook = lambda *x: os._exit(0)
def f(*x): sys.exit(0)
""",
}
# What looks for a token of 64 digits wherever the program can look.
_SEARCH = """
import gc, os, re, sys
TOKEN = re.compile('[0-9a-f]{64}')
def blobs():
  frame = sys._getframe()
  while frame:
    yield repr(frame.f_locals) + repr(frame.f_globals)
    frame = frame.f_back
  for item in gc.get_objects():
    if isinstance(item, (dict, list, tuple)):
      try: yield repr(item)
      except Exception: pass
  for path in ('environ', 'cmdline', 'maps', 'stat'):
    for pid in os.listdir('/proc'):
      try: yield open(f'/proc/{pid}/{path}', errors='replace').read()
      except OSError: pass
  for folder, _, names in os.walk('/tmp'):
    for name in names: yield open(os.path.join(folder, name)).read()
  with open('/proc/self/mem', 'rb', buffering=0) as memory:
    for line in open('/proc/self/maps'):
      area, rights = line.split()[:2]
      if rights.startswith('rw'):
        start, end = (int(x, 16) for x in area.split('-'))
        try:
          memory.seek(start)
          yield memory.read(end - start).decode('latin-1')
        except (OSError, ValueError, OverflowError): pass
def f(*x):
  for blob in blobs():
    found = TOKEN.search(blob)
    if found: return found[0]
print(f())
"""


@pytest.mark.parametrize("forgery", _FORGERIES)
def test_a_pass_is_not_forged(forgery):
  program = _FORGERIES[forgery].strip()
  for gold in (
    {"inputs": ["1"], "outputs": [_TOKEN]},
    {"fn_name": "f", "inputs": [[1]], "outputs": [_TOKEN]},
    {"asserts": [f"assert f(1) == {_TOKEN!r}"]},
    {"asserts": ["assert abs(f(1) - 1.25) < 1e-9"]},
    {"asserts": [f"assert f(1).startswith({_TOKEN!r}) is True"]},
  ):
    if forgery == "equal_to_all" and "abs" in json.dumps(gold):
      # Its arithmetic is its own: see the law on trust below.
      continue
    assert _judge(program, json.dumps(gold)) == "wrong", gold


@pytest.mark.parametrize(
  "gold",
  [
    {"inputs": ["1"], "outputs": [_TOKEN]},
    {"fn_name": "f", "inputs": [[1]], "outputs": [_TOKEN]},
    {"asserts": [f"assert f(1) == {_TOKEN!r}"]},
  ],
)
def test_what_is_expected_is_nowhere_to_be_found(gold):
  assert _judge(_SEARCH.strip(), json.dumps(gold)) == "wrong"


def test_the_search_would_find_it():
  program = f"{_SEARCH.strip()}\nhidden = {_TOKEN!r}"
  gold = {"fn_name": "f", "inputs": [[1]], "outputs": [_TOKEN]}
  assert _judge(program, json.dumps(gold)) == "correct"


def test_a_statement_that_runs_inside_trusts_the_program():
  """The one thing that does not hold, and the option for who minds."""
  look = """
import json, os, sys
def f(x):
  frame = sys._getframe()
  while 'nonce' not in str(frame.f_locals.get('request')):
    frame = frame.f_back
  reply = {'passed': frame.f_locals['request']['nonce']}
  for number in range(64):
    try: os.write(number, json.dumps(reply).encode() + b'\\n')
    except OSError: pass
"""
  gold = json.dumps({"asserts": ["assert abs(f(1) - 1.25) < 1e-9"]})
  for program in (_FORGERIES["equal_to_all"].strip(), look.strip()):
    assert _judge(program, gold) == "correct"
    assert _judge(program, gold, inside_asserts=False) == "gold_unparsed"


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
  for response in (_block("x = 1"), "nothing"):
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
    code_answers.passes_tests(_block("x = 1"), _TWICE, **options)
  assert str(caught.value).startswith(start)


# --- Whose fault it is.


def test_a_program_that_takes_all_the_time_is_wrong():
  program = "import time\ntime.sleep(0.4)\nprint(2 * int(input()))"
  gold = json.dumps({"inputs": ["1"] * 9, "outputs": ["2"] * 9})
  assert _judge(program, gold, total_secs=1.0) == "wrong"
  program = "import time\ndef add(x, y):\n  time.sleep(0.3)\n  return x + y"
  gold = {"fn_name": "add", "inputs": [[1, 2]] * 9, "outputs": [3] * 9}
  assert _judge(program, json.dumps(gold), total_secs=1.0) == "wrong"


def test_a_sandbox_that_takes_all_the_time_is_no_verdict(monkeypatch):
  def run(*_):
    time.sleep(0.1)
    return sandbox_session.Result("exited", 0, "2", "", 0.01)

  monkeypatch.setattr(sandbox, "run", run)
  gold = json.dumps({"inputs": ["1"] * 9, "outputs": ["2"] * 9})
  with pytest.raises(TimeoutError, match="total_secs 0.3 ended after 3 of 9"):
    _judge("print(2)", gold, total_secs=0.3)


@pytest.mark.parametrize("gold", [_TWICE, _ADD])
def test_a_sandbox_that_fails_is_no_verdict(monkeypatch, gold):
  name = sandbox.choose()
  failing = ["sh", "-c", "echo 'no such namespace' >&2; exit 1"]
  monkeypatch.setattr(sandbox_commands, "command", lambda *_: failing)
  with pytest.raises(sandbox_session.SandboxError) as caught:
    _judge("x = 1", gold)
  assert str(caught.value) == f"{name}: no such namespace"


# --- In the pool.


def test_the_pool_judges_programs():
  config = pool_lib.PoolConfig(
    verifier="code",
    options={"test_secs": _SECS, "memory_mib": 200},
    num_workers=1,
    deadline_secs=20.0,
    max_unjudged_frac=1.0,
  )
  right = _block("print(2 * int(input()))")
  items = [
    (right, _TWICE),
    (_block("print(2)"), _TWICE),
    (_block("while True: pass"), _TWICE),
    (_block("x = [0]\nwhile True: x += x"), _TWICE),
    (_block("import os\nos.kill(os.getpid(), 15)"), _TWICE),
    (_block("def add(x, y): return x + y"), _ADD),
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
    (verdict,) = pool.verify([(_block(program), _TWICE)])
    assert verdict.outcome == "timeout"
    until = time.monotonic() + 10
    while sandboxed.named(marker) and time.monotonic() < until:
      time.sleep(0.02)
    assert not sandboxed.named(marker)
