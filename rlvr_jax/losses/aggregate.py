"""From token losses to one sum and one count; the division comes last.

token_mean: every token counts the same.
sequence_mean: every response counts the same, whatever its length.
fixed_length: every token counts the same, over a constant length.

`loss_mask` selects what is summed, `completion_mask` what is counted: a method
that silences tokens lowers the numerator only, unless `over_kept` is set.
"""

import jax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax import masked
from rlvr_jax import records


def token_mean(
  *,
  token_losses: jax.Array,
  loss_mask: jax.Array,
  completion_mask: jax.Array,
  over_kept: bool = False,
) -> records.Mean:
  """Sum over tokens, count of tokens.

  total = sum(loss * loss_mask), count = sum(completion_mask)

  See "DAPO" (https://arxiv.org/abs/2503.14476), section 3.3.
  Neutral setting: equal lengths make it equal `sequence_mean`.
  Differs from the paper: no.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> mask = jnp.array([[1.0, 1.0], [1.0, 0.0]])
    >>> mean = losses.token_mean(
    ...     token_losses=jnp.array([[1.0, 2.0], [6.0, 0.0]]), loss_mask=mask,
    ...     completion_mask=mask)
    >>> float(mean.total), float(mean.count)
    (9.0, 3.0)

  Args:
    token_losses: f32[B, T].
    loss_mask: f32[B, T], what is summed.
    completion_mask: f32[B, T], what is counted.
    over_kept: count the loss mask instead.

  Returns:
    Mean of f32[] sum and count; its value() is 0 if nothing is counted.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    token_losses=token_losses,
    loss_mask=loss_mask,
    completion_mask=completion_mask,
  )
  counted = loss_mask if over_kept else completion_mask
  return records.Mean(
    masked.masked_sum(token_losses, loss_mask), jnp.sum(counted)
  )


def sequence_mean(
  *,
  token_losses: jax.Array,
  loss_mask: jax.Array,
  completion_mask: jax.Array,
  over_kept: bool = False,
) -> records.Mean:
  """Sum over responses of the mean over their tokens, count of responses.

  total = sum_b (sum_t loss * loss_mask / sum_t completion_mask), count = rows
  with any counted token

  See "DeepSeekMath" (https://arxiv.org/abs/2402.03300), eq. 3.
  Neutral setting: equal lengths make it equal `token_mean`.
  Differs from the paper: no.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> mask = jnp.array([[1.0, 1.0], [1.0, 0.0]])
    >>> mean = losses.sequence_mean(
    ...     token_losses=jnp.array([[1.0, 2.0], [6.0, 0.0]]), loss_mask=mask,
    ...     completion_mask=mask)
    >>> float(mean.total), float(mean.count)
    (7.5, 2.0)

  Args:
    token_losses: f32[B, T].
    loss_mask: f32[B, T], what is summed.
    completion_mask: f32[B, T], what is counted.
    over_kept: count the loss mask instead.

  Returns:
    Mean of f32[] sum and count; its value() is 0 if nothing is counted.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    token_losses=token_losses,
    loss_mask=loss_mask,
    completion_mask=completion_mask,
  )
  counted = loss_mask if over_kept else completion_mask
  weights = masked.row_weights(counted)
  lengths = jnp.sum(counted, axis=1)
  sums = masked.masked_sum(token_losses, loss_mask, axis=1)
  means = sums / jnp.where(lengths > 0, lengths, 1.0)
  return records.Mean(jnp.sum(weights * means), jnp.sum(weights))


def fixed_length(
  *,
  token_losses: jax.Array,
  loss_mask: jax.Array,
  completion_mask: jax.Array,
  length: int = 0,
) -> records.Mean:
  """Sum over tokens, count of responses times a constant length.

  total = sum(loss * loss_mask), count = rows with any token * length

  See "Understanding R1-Zero-Like Training" (Dr. GRPO,
  https://arxiv.org/abs/2503.20783): the constant removes the length bias.
  Neutral setting: responses that all have `length` tokens make it equal
  `token_mean`.
  Differs from the paper: no.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> mask = jnp.array([[1.0, 1.0], [1.0, 0.0]])
    >>> mean = losses.fixed_length(
    ...     token_losses=jnp.array([[1.0, 2.0], [6.0, 0.0]]), loss_mask=mask,
    ...     completion_mask=mask)
    >>> float(mean.total), float(mean.count)
    (9.0, 4.0)

  Args:
    token_losses: f32[B, T].
    loss_mask: f32[B, T], what is summed.
    completion_mask: f32[B, T], rows with none of it are not counted.
    length: the constant, in tokens; 0 takes T.

  Returns:
    Mean of f32[] sum and count; its value() is 0 if nothing is counted.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    token_losses=token_losses,
    loss_mask=loss_mask,
    completion_mask=completion_mask,
  )
  rows = jnp.sum(masked.row_weights(completion_mask))
  return records.Mean(
    masked.masked_sum(token_losses, loss_mask),
    rows * float(length or token_losses.shape[1]),
  )
