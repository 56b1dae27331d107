"""Log-partitions and anchors that nobody learns: controls and special cases.

zero_log_partition: no baseline at all.
noise_log_partition: a random number per prompt and step.
zero_anchor: log-probabilities of an anchor that gives every text the same.
"""

import jax
import jax.numpy as jnp

from rlvr_jax import checks


def zero_log_partition(*, valid: jax.Array) -> jax.Array:
  """A log-partition of 0 for every row.

  0

  The lower bound of what a log-partition is worth [inferred]; on-policy the
  expected gradient of trajectory balance is the same for any log-partition
  (https://arxiv.org/abs/2201.13259), so that only its variance changes.
  Neutral setting: always neutral.
  Differs from the paper: there is none.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import derived
    >>> derived.zero_log_partition(valid=jnp.ones(2)).tolist()
    [0.0, 0.0]

  Args:
    valid: f32[B], for the number of rows.

  Returns:
    f32[B], nats.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(valid=valid)
  return jnp.zeros_like(valid)


def noise_log_partition(
  *, prompt_normals: jax.Array, mean: float = 0.5, std: float = 1.0
) -> jax.Array:
  """A log-partition that knows nothing: noise, the same within a prompt.

  mean + std * n(prompt, step)

  See "GFlowRL" (https://arxiv.org/abs/2607.13394), which replaced FlowRL's
  learned log-partition by N(0.5, 1) and lost nothing [paper excerpt: digest].
  Neutral setting: std=0 and mean=0 give `zero_log_partition`.
  Differs from the paper: the noise is one draw per prompt and step; theirs is
  not described in the notes that we read [inferred].

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import derived
    >>> derived.noise_log_partition(
    ...     prompt_normals=jnp.array([1.0, 1.0, -0.5])).tolist()
    [1.5, 1.5, 0.0]

  Args:
    prompt_normals: f32[B], standard normal, one draw per prompt and step.
    mean: of the noise, nats.
    std: of the noise, nats.

  Returns:
    f32[B], nats.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(prompt_normals=prompt_normals)
  return mean + std * prompt_normals


def zero_anchor(*, completion_mask: jax.Array) -> jax.Array:
  """An anchor under which every text is equally likely.

  0

  See "Flow of Reasoning: Training LLMs for Divergent Reasoning with Minimal
  Examples" (https://arxiv.org/abs/2406.05673) [code: Yu-Fangxu/FoR:
  GSM8K/util.py], whose log-ratio is the log-probability itself.
  Neutral setting: always neutral.
  Differs from the paper: no.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import derived
    >>> derived.zero_anchor(completion_mask=jnp.ones((1, 2))).tolist()
    [[0.0, 0.0]]

  Args:
    completion_mask: f32[B, T], for the shape.

  Returns:
    f32[B, T], nats.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(completion_mask=completion_mask)
  return jnp.zeros_like(completion_mask)
