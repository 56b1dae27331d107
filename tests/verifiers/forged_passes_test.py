"""No program passes a test but by doing what it asks for."""

import json
import secrets

import pytest

from tests.verifiers import sandboxed

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
    assert sandboxed.judged(program, json.dumps(gold)) == "wrong", gold


@pytest.mark.parametrize(
  "gold",
  [
    {"inputs": ["1"], "outputs": [_TOKEN]},
    {"fn_name": "f", "inputs": [[1]], "outputs": [_TOKEN]},
    {"asserts": [f"assert f(1) == {_TOKEN!r}"]},
  ],
)
def test_what_is_expected_is_nowhere_to_be_found(gold):
  assert sandboxed.judged(_SEARCH.strip(), json.dumps(gold)) == "wrong"


def test_the_search_would_find_it():
  program = f"{_SEARCH.strip()}\nhidden = {_TOKEN!r}"
  gold = {"fn_name": "f", "inputs": [[1]], "outputs": [_TOKEN]}
  assert sandboxed.judged(program, json.dumps(gold)) == "correct"


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
    assert sandboxed.judged(program, gold) == "correct"
    assert (
      sandboxed.judged(program, gold, inside_asserts=False) == "gold_unparsed"
    )
