"""What differs between the ends of two runs, byte for byte and bit for bit."""

from collections import Counter
import json
import pathlib
from typing import Any

import jax
import numpy as np

from rlvr_jax import workdir as workdir_lib

# Everything a run writes that is no time, no picture and no checkpoint.
_COMPARED = (
  workdir_lib.METRICS,
  workdir_lib.SAMPLES,
  workdir_lib.TOKENS,
  workdir_lib.WARM_START_METRICS,
  workdir_lib.SUMMARY,
)


def step_differences(found: list[int], num_steps: int) -> list[str]:
  """Steps that are lost, written twice, or too many; 0 is one of them."""
  times = Counter(found)
  steps = range(num_steps + 1)
  lost = [step for step in steps if not times[step]]
  doubled = [step for step, number in times.items() if number > 1]
  foreign = [step for step in times if step not in steps]
  return [
    f"{workdir_lib.METRICS} {what} {', '.join(map(str, sorted(which)))}"
    for what, which in (
      ("lost", lost),
      ("doubled", doubled),
      ("has no step", foreign),
    )
    if which
  ]


def file_differences(
  ours: pathlib.Path, theirs: pathlib.Path, num_steps: int
) -> list[str]:
  """What differs between the files of two folders of finished runs."""
  read = lambda path: path.read_bytes() if path.exists() else None
  found = [
    f"{name} differs"
    for name in _COMPARED
    if read(ours / name) != read(theirs / name)
  ]
  text = (read(ours / workdir_lib.METRICS) or b"").decode()
  steps = [json.loads(line)["step"] for line in text.splitlines()]
  return found + step_differences(steps, num_steps)


def state_differences(ours: Any, theirs: Any) -> list[str]:
  """Arrays of two states that are not the same bit for bit."""
  flat = lambda tree: {
    jax.tree_util.keystr(path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }
  # Bytes, since NaN is not equal to itself and 0 is to -0.
  bits = lambda x: x is not None and (x.dtype, x.shape, x.tobytes())
  ours, theirs = flat(ours), flat(theirs)
  return [
    f"checkpoint: {name} differs"
    for name in sorted(ours.keys() | theirs.keys())
    if bits(ours.get(name)) != bits(theirs.get(name))
  ]
