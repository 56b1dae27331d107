"""Programs in a sandbox, as the tests run and find them."""

import pathlib
import secrets

from rlvr_jax.verifiers import code_answers
from rlvr_jax.verifiers import sandbox


def run(backend, program, stdin="", **limits):
  limits = sandbox.Limits(**{"seconds": 10.0} | limits)
  return sandbox.run(program, stdin, limits, backend)


def named(marker):
  """Processes of this machine that go by a name."""
  found = []
  for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
    try:
      stat = path.read_text()
    except (FileNotFoundError, ProcessLookupError):
      continue
    name, state = stat.partition("(")[2].rpartition(")")[::2]
    if name == marker and state.split()[0] not in "ZX":
      found.append(int(path.parent.name))
  return found


def marked(program):
  """A program whose processes go by a name of their own."""
  marker = secrets.token_hex(7)
  name = f"import ctypes\nctypes.CDLL(None).prctl(15, b'{marker}', 0, 0, 0)\n"
  return marker, name + program


def block(program):
  """A response with a program."""
  return f"I think so.\n```python\n{program}\n```\nThat is all."


def judged(program, gold, **options):
  """How a response with that program ends."""
  options = {
    "test_secs": 5.0,
    "total_secs": 20.0,
    "inside_asserts": True,
  } | options
  found = code_answers.passes_tests(block(program), gold, **options)
  assert found.answer == program
  return found.outcome
