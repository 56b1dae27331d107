"""The child process that runs one verifier; started by `pool`.

python -m rlvr_jax.verifiers.worker '{"verifier": "math", ...}'

It answers one request after another, on what were its standard input and
output: each message is four bytes of length, then JSON.

  parent  {"response": str, "gold": str}
  child   {"ready": true} once, or {"error": one sentence for the user}; then
          {"outcome", "answer", "message", "seconds", "retire"} per request

Whatever the verifier prints goes to standard error instead. The child imports
no jax: it starts fast, and no accelerator can hang it.
"""

from collections.abc import Callable
import ctypes
import inspect
import json
import os
import resource
import signal
import struct
import sys
import time
from typing import Any

from rlvr_jax import errors
from rlvr_jax import names
from rlvr_jax import outcomes

# Verifiers with a short name.
VERIFIERS = {
  "exact": "rlvr_jax.verifiers.answers:exact",
  "numeric": "rlvr_jax.verifiers.answers:numeric",
  "math": "rlvr_jax.verifiers.math_answers:equivalent",
  "math_boxed": "rlvr_jax.verifiers.math_answers:equivalent_in_box",
  "code": "rlvr_jax.verifiers.code_answers:passes_tests",
}
LENGTH = struct.Struct(">I")

_MESSAGE_CHARS = 300
_ANSWER_CHARS = 2_000
_PR_SET_PDEATHSIG = 1


def path(name: str) -> str:
  """Where a verifier stands, as "module:function"; imports nothing.

  Raises:
    errors.UserError: if the name is neither short nor of that form.
  """
  if ":" in name:
    return name
  if name not in VERIFIERS:
    raise errors.UserError(
      f"verifier is {name!r}: {names.did_you_mean(name, VERIFIERS)}, or name"
      " your own as 'module:function'"
    )
  return VERIFIERS[name]


def load(name: str, options: dict[str, Any]) -> Callable[[str, str], Any]:
  """Imports a verifier and binds its options.

  Raises:
    errors.UserError: if it cannot be imported, or does not take an option.
  """
  function = names.resolve("verifier", path(name))
  known = [
    parameter.name
    for parameter in inspect.signature(function).parameters.values()
    if parameter.kind == parameter.KEYWORD_ONLY
  ]
  for key in options:
    if key not in known:
      raise errors.UserError(
        f"verifier {name!r} has no option {key!r}:"
        f" {names.did_you_mean(key, known) if known else 'it takes none'}"
      )
  return lambda response, gold: function(response, gold, **options)


def judge(
  verifier: Callable[[str, str], Any], response: str, gold: str
) -> dict[str, Any]:
  """The reply to one request; an exception of the verifier is a "crash".

  Raises:
    errors.UserError: if the verifier raised one, or returned no outcome.
  """
  start = time.perf_counter()
  answer, message, retire = None, "", False
  try:
    found = verifier(response, gold)
  except errors.UserError:
    raise
  # SystemExit and the like too: no response may end the process.
  except BaseException as error:
    outcome = "crash"
    message = f"{type(error).__name__}: {error}"[:_MESSAGE_CHARS]
    # What else had no memory, and went on half done, cannot be known.
    retire = isinstance(error, MemoryError)
  else:
    outcome, answer = found if _is_pair(found) else (found, None)
    if outcome not in outcomes.OUTCOMES:
      raise errors.UserError(
        f"the verifier returned {found!r}:"
        f" {names.did_you_mean(str(outcome), outcomes.OUTCOMES)}"
      )
  return {
    "outcome": outcome,
    "answer": None if answer is None else str(answer)[:_ANSWER_CHARS],
    "message": message,
    "seconds": time.perf_counter() - start,
    "retire": retire,
  }


def _is_pair(found: Any) -> bool:
  return isinstance(found, tuple) and len(found) == 2


def main() -> None:
  """Serves until standard input ends."""
  setup = json.loads(sys.argv[1])
  # Ctrl-C in a terminal is for the parent, and so is what a scheduler sends to
  # every process of a job: a row being judged must not count as a crash.
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
  requests, replies = _private_pipes()
  _end_with(setup["parent"])
  try:
    verifier = load(setup["verifier"], setup["options"])
    _limit_memory(setup["memory_mib"])
    _send(replies, {"ready": True})
    while (request := _receive(requests)) is not None:
      reply = judge(verifier, request["response"], request["gold"])
      _send(replies, reply)
      if reply["retire"]:
        return
  except errors.UserError as error:
    _send(replies, {"error": str(error)})


def _private_pipes() -> tuple[int, int]:
  """Moves the protocol out of the way of everything that reads or prints."""
  requests, replies = os.dup(0), os.dup(1)
  with open(os.devnull) as nothing:
    os.dup2(nothing.fileno(), 0)
  os.dup2(2, 1)
  return requests, replies


def _end_with(parent: int) -> None:
  """Has this process killed when its parent dies, even in mid-computation.

  Elsewhere than on Linux it ends when it next looks at its input.
  """
  if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
  if os.getppid() != parent:
    sys.exit("the parent is gone")


def _limit_memory(mib: int) -> None:
  """Bounds the address space; a segfault leaves no core file."""
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  _, most = resource.getrlimit(resource.RLIMIT_AS)
  size = mib * 2**20
  if most != resource.RLIM_INFINITY:
    size = min(size, most)
  resource.setrlimit(resource.RLIMIT_AS, (size, size))
  try:
    bytearray(32 * 2**20)
  except MemoryError:
    raise errors.UserError(
      f"memory_mib is {mib}, which the verifier's imports fill: raise it"
    ) from None


def _receive(source: int) -> dict[str, Any] | None:
  """The next message; None at the end of the input."""
  header = _read(source, LENGTH.size)
  if header is None:
    return None
  body = _read(source, LENGTH.unpack(header)[0])
  return None if body is None else json.loads(body)


def _read(source: int, count: int) -> bytes | None:
  data = bytearray()
  while len(data) < count:
    chunk = os.read(source, count - len(data))
    if not chunk:
      return None
    data += chunk
  return bytes(data)


def _send(target: int, message: dict[str, Any]) -> None:
  body = json.dumps(message).encode()
  data = LENGTH.pack(len(body)) + body
  while data:
    data = data[os.write(target, data) :]


if __name__ == "__main__":
  main()
