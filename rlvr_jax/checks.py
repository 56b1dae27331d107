"""Fields checked by name: the same name has one shape and one meaning.

Shapes are compared whenever a method's function runs, also while it is being
compiled. Values are looked at only where there are any: a direct call with
arrays is checked before it computes, a compiled one costs nothing.
"""

from collections.abc import Mapping

import jax
import numpy as np

from rlvr_jax import errors

# Every field that a run can fill: "B" one value a row, "BT" one a token, "BTK"
# one for each of K candidate tokens in a token's place, "" one in all.
# `records.RolloutBatch` says what they mean.
SHAPES = {
  "step": "",
  "completion_tokens": "BT",
  "completion_mask": "BT",
  "prompt_ids": "B",
  "group_ids": "B",
  "sample_index": "B",
  "valid": "B",
  "finished": "B",
  "decode_steps": "B",
  "sampler_logprobs": "BT",
  "log_kept_mass": "BT",
  "frozen_logprobs": "BT",
  "frozen_entropies": "BT",
  "frozen_mean_logprobs": "BT",
  "rewards": "B",
  "is_correct": "B",
  "outcomes": "B",
  "old_logprobs": "BT",
  "ref_logprobs": "BT",
  "teacher_logprobs": "BT",
  "teacher_entropies": "BT",
  "has_teacher": "B",
  # Log-probabilities of the candidates, over the full vocabulary: of the
  # current policy, live, and of the teacher, frozen.
  "support_logprobs": "BTK",
  "teacher_support_logprobs": "BTK",
  "token_uniforms": "BT",
  "advantages": "B",
  "token_advantages": "BT",
  "loss_mask": "BT",
  "logprobs": "BT",
  "entropies": "BT",
  "mean_logprobs": "BT",
  "token_losses": "BT",
  # Log-partition of the row's prompt, nats; current head, live.
  "log_partition": "B",
  # What a log-ratio is taken against: old_logprobs, ref_logprobs, ...
  "anchor_logprobs": "BT",
  # What the teacher is compared with: old_logprobs, frozen_logprobs, ...
  "student_logprobs": "BT",
  # Share of a token's weight that the teacher decides (lambda), and how far
  # its ratio may move that weight from 1 (epsilon_w).
  "teacher_mix": "",
  "teacher_clip": "",
  # Multiplies rewards: kappa, FlowRL's beta, 1 / beta of PACED-RL.
  "inv_temp": "",
  # One standard normal number per prompt and step.
  "prompt_normals": "B",
  # Filled by functions of `rlvr_jax.derived` where a method asks for them.
  "segment_ids": "BT",
  "planning_tokens": "BT",
  "clip_cov_tokens": "BT",
  "kl_cov_tokens": "BT",
  "vargrad_log_z": "B",
  "zero_log_partition": "B",
  "noise_log_partition": "B",
  "zero_anchor": "BT",
  "d_hat": "BT",
  "srpo_weights": "BT",
}
# Arguments of functions that no run fills under this name: a loss's own input,
# the argument for which a method names a field, a number that it sets.
ARGUMENTS = (
  "token_losses",
  "anchor_logprobs",
  "student_logprobs",
  "teacher_mix",
  "teacher_clip",
  "inv_temp",
)
# Numbers above 0, with what they are.
_POSITIVE = {
  "inv_temp": "it multiplies rewards (kappa: FlowRL's beta, 1 / beta of"
  " PACED-RL), set it above 0",
}
# What the letters of a shape count.
_COUNTED = {"B": "rows", "T": "tokens", "K": "candidates"}
# Rounding may lift the log-probability of a certain token a little above 0.
ROUNDING = 1e-4


def has_rows(name: str, value: jax.Array) -> bool:
  """Whether a field has one entry per row; unknown ones do if not scalar."""
  return np.ndim(value) > 0 and SHAPES.get(name, "B").startswith("B")


def arguments(**fields: jax.Array) -> None:
  """Checks the arguments of one function against each other.

  Raises:
    errors.UserError: a ValueError that names the first field whose shape or
      values cannot be right, and the remedy.
  """
  _check_shapes(fields)
  values = {
    name: np.asarray(value)
    for name, value in fields.items()
    if not isinstance(value, jax.core.Tracer)
  }
  for name, value in values.items():
    _check_values(name, value, _inside(name, value, values))


def scalar(name: str, value: float) -> None:
  """Checks a number that a method sets, by the last part of its name.

  Raises:
    errors.UserError: if it cannot be right.
  """
  remedy = _POSITIVE.get(name.rpartition(".")[2])
  if remedy and not value > 0:
    raise errors.UserError(f"{name} is {value}: {remedy}")


def binary(name: str, values: jax.Array) -> None:
  """Checks that verdicts are verdicts.

  Raises:
    errors.UserError: for a value that is neither 0 nor 1.
  """
  values = np.asarray(values)
  remedy = (
    "a log-partition head estimates accuracy from verdicts that are 0 or 1, so"
    " give it is_correct"
  )
  _require(name, values, (values == 0) | (values == 1), remedy)


def groups(group_ids: jax.Array) -> None:
  """Checks that every group has rows to compare.

  Raises:
    errors.UserError: if a group has a single row.
  """
  if isinstance(group_ids, jax.core.Tracer):
    return
  ids, sizes = np.unique(np.asarray(group_ids), return_counts=True)
  if np.any(sizes < 2):
    raise errors.UserError(
      f"group_ids has a single row of group {ids[sizes < 2][0]}: give every"
      " prompt two or more completions, or take an advantage without groups"
    )


def batch(fields: Mapping[str, jax.Array]) -> None:
  """Checks a whole batch on the host, before anything is compiled.

  Args:
    fields: arrays by name; those of other names are left alone.

  Raises:
    errors.UserError: a ValueError that names the field, the value and the
      remedy; also if there is nothing to learn from in the whole batch.
  """
  arguments(**fields)
  mask, valid = fields.get("completion_mask"), fields.get("valid")
  if mask is not None and not np.any(np.asarray(mask) > 0):
    raise errors.UserError(
      "completion_mask is 0 everywhere: set it to 1 on generated tokens"
    )
  if valid is not None and not np.any(np.asarray(valid) > 0):
    raise errors.UserError(
      "valid is 0 on every row, so that no completion was judged: look at the"
      " outcomes that the verifier gave"
    )


def _check_shapes(fields: Mapping[str, jax.Array]) -> None:
  """Ranks by name, then every letter against its first appearance."""
  sizes: dict[str, tuple[int, str]] = {}
  for name, value in fields.items():
    letters = SHAPES.get(name)
    if letters is None:
      continue
    shape = np.shape(value)
    if len(shape) != len(letters):
      raise errors.UserError(
        f"{name} has shape {shape}: it takes [{', '.join(letters)}]"
      )
    for letter, size in zip(letters, shape, strict=True):
      first, other = sizes.setdefault(letter, (size, name))
      if size != first:
        raise errors.UserError(
          f"{name} has shape {shape}, but {other} has {letter} = {first}:"
          f" give both the same number of"
          f" {_COUNTED[letter]}"
        )


def _inside(name: str, value: np.ndarray, values) -> np.ndarray:
  """The cells of a field that somebody reads, bool of its shape."""
  letters = SHAPES.get(name, "")
  mask, valid = values.get("completion_mask"), values.get("valid")
  inside = np.ones(value.shape, bool)
  wide = lambda x: x.reshape(x.shape + (1,) * (value.ndim - x.ndim)) > 0
  if letters.startswith("BT"):
    if mask is not None:
      inside &= wide(mask)
    # A row without a teacher holds whatever the absence left there.
    if name.startswith("teacher_") and "has_teacher" in values:
      inside &= wide(values["has_teacher"])
  elif letters == "B" and valid is not None:
    inside = valid > 0
  elif letters == "B" and mask is not None:
    # Credit takes rows that nobody judged out of the mask.
    inside = np.any(mask > 0, axis=1)
  return inside


def _check_values(name: str, value: np.ndarray, inside: np.ndarray) -> None:
  if name in _POSITIVE:
    scalar(name, float(value))
  if name == "group_ids":
    numbers = f"group numbers lie in 0 .. {len(value) - 1}"
    remedy = f"{numbers}; number the prompts of the batch from 0"
    _require(name, value, (value >= 0) & (value < len(value)), remedy)
  if name not in SHAPES or not np.issubdtype(value.dtype, np.floating):
    return
  remedy = "mask the cell out, or mend what computed it"
  if name == "rewards":
    remedy = "set valid to 0 on rows that could not be judged"
  # A candidate token may be one that is never given.
  finite = np.isfinite(value)
  if SHAPES[name] == "BTK":
    finite |= value == -np.inf
  _require(name, value, finite | ~inside, remedy)
  if name.endswith("logprobs"):
    remedy = (
      "log-probabilities are at most 0; pass neither probabilities nor logits"
    )
    _require(name, value, (value <= ROUNDING) | ~inside, remedy)
  if name.endswith("entropies"):
    remedy = "entropies are at least 0 nats"
    _require(name, value, (value >= -ROUNDING) | ~inside, remedy)
  if name.endswith("_mask") or name == "valid":
    _require(name, value, value >= 0, "masks are 0 or positive")


def _require(name: str, value: np.ndarray, good: np.ndarray, remedy: str):
  bad = np.argwhere(~good)
  if len(bad):
    place = tuple(bad[0].tolist())
    where = f"[{', '.join(map(str, place))}]" if place else ""
    raise errors.UserError(f"{name}{where} is {value[place]}: {remedy}")
