"""The largest batch or length, or the fewest passes, that fit in memory.

The rule for how a step is cut up: layers recompute everything in the backward
pass (`config.model.remat` "full"), the head never holds more than its chunk,
and an update goes in as few micro-batches as fit. What is still too large is
made smaller: lengths, prompts, or more devices.
"""

from collections.abc import Callable, Mapping
import copy
from typing import Any

from rlvr_jax import errors
from rlvr_jax import names
from rlvr_jax import workdir

# Settings to search, and whether more of them takes more memory.
SETTINGS = {
  "rollout.completion_tokens": True,
  "prompts_per_step": True,
  "updates.num_micro_batches": False,
}
# Completions are as long as a multiple of this.
_TOKENS = 64


def checked(name: str) -> str:
  """A setting's name.

  Raises:
    errors.UserError: if it is none of SETTINGS.
  """
  if name not in SETTINGS:
    raise errors.UserError(
      f"--fit is {name!r}: {names.did_you_mean(name, tuple(SETTINGS))}"
    )
  return name


def with_setting(
  config: Mapping[str, Any], name: str, value: int
) -> dict[str, Any]:
  """A config with one setting replaced."""
  changed = copy.deepcopy(dict(config))
  *blocks, last = name.split(".")
  block = changed
  for key in blocks:
    block = block[key]
  block[last] = value
  return changed


def read(config: Mapping[str, Any], name: str) -> int:
  """A setting of a config."""
  return workdir.flat(config)[name]


def unit(config: Mapping[str, Any], name: str) -> int:
  """What the values of a setting are multiples of."""
  if name == "rollout.completion_tokens":
    return _TOKENS
  mesh, updates = config["mesh"], config["updates"]
  pieces = updates["num_minibatches"] * updates["num_micro_batches"]
  return mesh["data"] * mesh["fsdp"] * pieces


def largest(
  fits_at: Callable[[int], bool], start: int, unit: int
) -> int | None:
  """The largest multiple of a unit that fits, to an eighth; None for none.

  Args:
    fits_at: takes minutes: it compiles.
    start: where to look first.
    unit: the values to choose from are its multiples.
  """
  low, high = 0, None
  value = max(start // unit, 1)
  while high is None or high - low > max(1, low // 8):
    if fits_at(value * unit):
      low = value
      value = 2 * low if high is None else (low + high) // 2
    else:
      high = value
      value = (low + high) // 2
  return low * unit or None


def fewest(fits_at: Callable[[int], bool | None], limit: int) -> int | None:
  """The least power of two up to a limit that fits; None for none.

  Args:
    fits_at: None for a value that is not possible.
    limit: the last that is looked at.
  """
  value = 1
  while value <= limit:
    if fits_at(value):
      return value
    value *= 2
  return None
