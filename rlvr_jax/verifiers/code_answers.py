"""Programs in Python, judged by unit tests in a sandbox.

What is judged is one block of the response (`program_of`); what it is judged
by is a gold of `unit_tests`. The program runs in `sandbox`, whose promises are
told there. The verdict is made outside of it, wherever that can be:

  inputs, outputs           The program is given inputs only, and what it wrote
                            is compared outside. Nothing inside knows what is
                            expected, so nothing can be forged.
  fn_name                   Likewise: what comes out is a value as JSON, without
                            any code of its own.
  assert f(2) == 4          Likewise, for every literal of builtin types. Other
                            values, an object with an __eq__ of its own among
                            them, are wrong.
  any other statement       Runs inside, next to the program: only leaving
                            early, printing, writing to any descriptor and
                            replacing builtins are of no use. A program that
                            looks into its callers can say that it passed.
                            Such golds are read with inside_asserts alone.

A program that is too slow, takes too much memory or writes too much is wrong:
that is its own fault. If the sandbox fails, an exception says so, which the
pool counts as a crash.
"""

from collections.abc import Callable
import dataclasses
import json
import pathlib
import re
import secrets
import time
from typing import Any, NamedTuple

from rlvr_jax import settings
from rlvr_jax.outcomes import Judged
from rlvr_jax.verifiers import boxed
from rlvr_jax.verifiers import code_harness
from rlvr_jax.verifiers import sandbox as sandbox_lib
from rlvr_jax.verifiers import sandbox_session
from rlvr_jax.verifiers import unit_tests

# Languages of a block that is the answer.
PYTHON = ("python", "python3", "py")

_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<ticks>`{3,})(?P<info>[^`]*)")
_HARNESS = pathlib.Path(code_harness.__file__).read_text()


def passes_tests(
  response: str,
  gold: str,
  *,
  test_secs: float = 2.0,
  total_secs: float = 4.0,
  memory_mib: int = 512,
  tolerance: float = 1e-6,
  inside_asserts: bool = False,
  sandbox: str = "auto",
  think_end: str = boxed.THINK_END,
) -> Judged:
  r"""Whether the program of a response passes all tests of the gold.

  Example: with the gold {"inputs": ["3"], "outputs": ["4"]}, a response whose
  last block is print(int(input()) + 1) is "correct".

  Tests run one after another until the first that fails. The pool's
  deadline_secs must exceed total_secs, with room for a sandbox to start: past
  the deadline nothing is known of a program, and its outcome is "timeout"
  instead of "wrong".

  Args:
    response: what the policy wrote.
    gold: the tests, as `unit_tests` reads them.
    test_secs: for one test, by the clock; and for loading a program whose
      functions are called.
    total_secs: for all tests of the gold, sandboxes included.
    memory_mib: address space of the program; no more than the worker's.
    tolerance: of floats, as `unit_tests.same_number` has it; asserts are exact.
    inside_asserts: whether to trust statements that a program could forge.
    sandbox: as `sandbox.choose` takes it.
    think_end: only what follows it is searched; "" for all.

  Returns:
    "correct", "wrong", "unparsed" or "gold_unparsed", and the program.

  Raises:
    errors.UserError: if there is no such sandbox on this machine, or an option
      is out of range.
    sandbox_session.SandboxError: if the sandbox fails.
    TimeoutError: if total_secs went by in starting sandboxes.
  """
  settings.require(
    tolerance >= 0, f"tolerance is {tolerance}: set it to 0 or above"
  )
  backend = sandbox_lib.choose(sandbox)
  tests = unit_tests.read(gold)
  program = program_of(response, think_end=think_end)
  if tests is None or not (inside_asserts or _is_outside(tests)):
    return Judged("gold_unparsed", program)
  if not program:
    return Judged("unparsed", program)
  limits = sandbox_lib.Limits(
    seconds=test_secs, cpu_seconds=total_secs, memory_mib=memory_mib
  )
  clock = _Clock(total_secs, len(tests.tests))
  item = _Item(program, limits, backend, clock, tolerance)
  if isinstance(tests, unit_tests.Pairs):
    passed = _passes_pairs(tests, item)
  else:
    passed = _passes_calls(tests, item)
  return Judged("correct" if passed else "wrong", program)


def program_of(
  response: str, *, think_end: str = boxed.THINK_END
) -> str | None:
  """The program of a response: its last fenced block.

  The last one that names Python; of those that name no language, if none does.
  A block that is never closed is no program, as the response was cut off there;
  it does not uncover the one before.

  Args:
    response: any text.
    think_end: only what follows it is searched; "" for all.

  Returns:
    The text of the block; "" where it is never closed; None if there is none.
  """
  text = boxed.searched(response, think_end=think_end, tail_chars=len(response))
  found: dict[bool, str] = {}
  opened, lines = None, []
  for line in text.split("\n"):
    fence = _FENCE.fullmatch(line.rstrip())
    if opened is None:
      opened, lines = fence, []
    elif (
      fence
      and not fence["info"]
      and len(fence["ticks"]) >= len(opened["ticks"])
    ):
      language = _language(opened)
      if language in ("", *PYTHON):
        found[language != ""] = "\n".join(lines)
      opened = None
    else:
      lines.append(line.removeprefix(opened["indent"]))
  if opened is not None and _language(opened) in ("", *PYTHON):
    found[_language(opened) != ""] = ""
  return found.get(True, found.get(False))


def _language(fence: re.Match) -> str:
  words = fence["info"].split()
  return words[0].lower() if words else ""


class _Clock:
  """The time of one item, and how much of it its programs took."""

  def __init__(self, total_secs: float, num_tests: int):
    self.total_secs = total_secs
    self.num_tests = num_tests
    self.num_passed = 0
    self.program_secs = 0.0
    self._until = time.monotonic() + total_secs

  def left(self) -> float:
    return self._until - time.monotonic()

  def is_too_slow(self) -> bool:
    """Whether the program has to answer for the time that is up.

    Raises:
      TimeoutError: if it is for the sandbox to answer: most of the time went by
        while no program ran.
    """
    if self.program_secs >= 0.5 * self.total_secs:
      return True
    raise TimeoutError(
      f"total_secs {self.total_secs} ended after {self.num_passed} of"
      f" {self.num_tests} tests, and the program took"
      f" {self.program_secs:.1f} s of it: raise it, or leave out tests"
    )


class _Item(NamedTuple):
  """A program, and on what terms it is tested."""

  program: str
  limits: sandbox_lib.Limits
  backend: str
  clock: _Clock
  tolerance: float


def _passes_pairs(tests: unit_tests.Pairs, item: _Item) -> bool:
  """One sandbox for each test, so that none learns of another."""
  clock, tolerance = item.clock, item.tolerance
  for stdin, expected in tests.tests:
    secs = min(item.limits.seconds, clock.left())
    if secs <= 0:
      return not clock.is_too_slow()
    limits = dataclasses.replace(item.limits, seconds=secs)
    found = sandbox_lib.run(item.program, stdin, limits, item.backend)
    clock.program_secs += found.seconds
    if found.status == "timeout" and secs < item.limits.seconds:
      return not clock.is_too_slow()
    if found.status != "exited" or found.exit_code != 0:
      return False
    if not unit_tests.same_output(found.stdout, expected, tolerance=tolerance):
      return False
    clock.num_passed += 1
  return True


def _passes_calls(
  tests: unit_tests.Calls | unit_tests.Asserts, item: _Item
) -> bool:
  """One sandbox for all tests, which are told to it one by one."""
  clock, limits = item.clock, item.limits
  with sandbox_lib.start(
    _HARNESS,
    dataclasses.replace(limits, seconds=clock.total_secs),
    item.backend,
  ) as session:
    began = time.monotonic()
    ask = lambda request: _reply(
      session, request, min(limits.seconds, clock.left())
    )
    passed = "value" in ask({"program": item.program})
    for test in tests.tests:
      passed = passed and _passes(ask, tests, test, item.tolerance)
      clock.num_passed += passed
    clock.program_secs = time.monotonic() - began
  if not passed and clock.left() <= 0:
    return not clock.is_too_slow()
  return passed


def _passes(
  ask: Callable[[dict], dict], tests: Any, test: Any, tolerance: float
) -> bool:
  """Whether one call or assert holds."""
  try:
    if isinstance(tests, unit_tests.Calls):
      arguments, expected = test
      reply = ask({"call": tests.name, "arguments": arguments})
      found = unit_tests.decoded(reply["value"])
      return unit_tests.same_value(found, expected, tolerance=tolerance)
    if test.expression is not None:
      reply = ask({"eval": test.expression})
      return unit_tests.decoded(reply["value"]) == test.value
    nonce = secrets.token_hex(16)
    reply = ask({"exec": test.statement, "nonce": nonce})
    return reply["passed"] == nonce
  # A reply of any form can come; none may be an error of ours.
  except (KeyError, OverflowError, RecursionError, TypeError, ValueError):
    return False


def _reply(
  session: sandbox_session.Session, request: dict, seconds: float
) -> dict:
  """What comes back, be it what it may; {} for nothing, or nothing readable."""
  session.send(json.dumps(request).encode() + b"\n")
  line = session.line(seconds)
  try:
    reply = json.loads(line or b"{}")
  except (RecursionError, ValueError):
    return {}
  return reply if isinstance(reply, dict) else {}


def _is_outside(
  tests: unit_tests.Pairs | unit_tests.Calls | unit_tests.Asserts,
):
  """Whether the verdict on every test is made outside of the sandbox."""
  return not isinstance(tests, unit_tests.Asserts) or all(
    test.expression is not None for test in tests.tests
  )
