"""Rows to leave out of the loss, once their advantages are known.

mixed_groups: groups whose samples are neither all right nor all wrong.
with_teacher: rows that a teacher has seen.
"""

import jax

from rlvr_jax import checks
from rlvr_jax import masked


def mixed_groups(
  *, is_correct: jax.Array, group_ids: jax.Array, valid: jax.Array
) -> jax.Array:
  """Keeps the groups that hold both verdicts.

  keep = 0 < mean_group(is_correct) < 1

  See "DAPO: An Open-Source LLM Reinforcement Learning System at Scale", Yu et
  al. (https://arxiv.org/abs/2503.14476), section 3.2, dynamic sampling. It
  looks at the verifier's bit, never at a shaped reward: shaping can lend
  variance to a group whose answers are all alike.
  Neutral setting: with every group mixed it keeps all.
  Differs from the paper: the paper samples on until the batch is full of such
  groups; this drops the others, so that the batch is smaller and its mean the
  same.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import advantages
    >>> advantages.mixed_groups(
    ...     is_correct=jnp.array([1.0, 0.0, 1.0, 1.0]),
    ...     group_ids=jnp.array([0, 0, 1, 1]), valid=jnp.ones(4)).tolist()
    [1.0, 1.0, 0.0, 0.0]

  Args:
    is_correct: f32[B], the verifier's bit.
    group_ids: i32[B], same prompt, same number; each in 0 .. B - 1.
    valid: f32[B], 0 on rows that belong to no statistic.

  Returns:
    f32[B] of zeros and ones.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(is_correct=is_correct, group_ids=group_ids, valid=valid)
  accuracy = masked.group_mean(is_correct, group_ids, valid)
  return ((accuracy > 0) & (accuracy < 1)).astype(is_correct.dtype)


def with_teacher(*, has_teacher: jax.Array) -> jax.Array:
  """Keeps the rows that have a teacher.

  keep = has_teacher > 0

  See "Reinforcement Learning via Self-Distillation"
  (https://arxiv.org/abs/2601.20802), whose means count such rows alone [code:
  lasgroup/SDPO:verl/trainer/ppo/core_algos.py].
  Neutral setting: with a teacher on every row it keeps all.
  Differs from the paper: no.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import advantages
    >>> advantages.with_teacher(has_teacher=jnp.array([1.0, 0.0])).tolist()
    [1.0, 0.0]

  Args:
    has_teacher: f32[B], 0 on rows without a teacher.

  Returns:
    f32[B] of zeros and ones.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(has_teacher=has_teacher)
  return (has_teacher > 0).astype(has_teacher.dtype)
