"""The same bytes from the same command: what is asked of XLA, what is promised.

Every draw is a function of (run seed, step, prompt, sample, position), every
verdict of its row alone, and a killed run goes on as if it had not been. What
is left is how a device adds numbers up.
"""

import os

from absl import flags

# Fixed algorithms, and none chosen by timing them; XLA for other devices reads
# and ignores it.
_XLA_FLAG = "--xla_gpu_deterministic_ops=true"
_SAME = (
  "the same command on the same devices with the same versions gives the same"
  " bytes"
)
_NOT_TRIED = "by what XLA's makers say; not measured by us"
# By backend.
PROMISES = {
  "cpu": f"{_SAME}, killed and resumed or not (make torture measures it)",
  "gpu": f"{_SAME}, at a price in speed ({_NOT_TRIED})",
  "tpu": f"{_SAME} ({_NOT_TRIED})",
}
_OTHERWISE = (
  "another mesh, device, version or number of micro-batches rounds differently"
)


def define_flag() -> None:
  """The flag --deterministic."""
  flags.DEFINE_bool(
    "deterministic",
    False,
    "Choose XLA's deterministic operations, and say what is promised.",
  )


def is_wanted() -> bool:
  """Whether the program has the flag, and it is set."""
  return "deterministic" in flags.FLAGS and flags.FLAGS.deterministic


def choose() -> None:
  """Asks XLA for it; before jax looks at its devices."""
  given = os.environ.get("XLA_FLAGS", "")
  if _XLA_FLAG not in given:
    os.environ["XLA_FLAGS"] = f"{given} {_XLA_FLAG}".strip()


def promise(backend: str) -> str:
  """What a run on a backend keeps to, in a sentence."""
  kept = PROMISES.get(backend, "nothing is known of this backend")
  return f"deterministic on {backend}: {kept}; {_OTHERWISE}"
