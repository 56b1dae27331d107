"""Where in a completion a token stands, read off the token ids.

segment_ids: number of the step that a token belongs to.
planning_tokens: tokens inside given phrases.
"""

import jax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax import settings


def segment_ids(
  *,
  completion_tokens: jax.Array,
  completion_mask: jax.Array,
  separator_ids: tuple = (),
) -> jax.Array:
  """Steps of a completion, cut after every separator.

  segment = number of separators before the token

  See "Harnessing Uncertainty" (https://arxiv.org/abs/2509.09265), where the
  steps of an agent end with its turns; separators within one completion are
  our stand-in [inferred]. A separator belongs to the step that it ends.
  Neutral setting: no separator gives one step, number 0.
  Differs from the paper: as said.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import derived
    >>> derived.segment_ids(
    ...     completion_tokens=jnp.array([[5, 9, 6, 7, 0]]),
    ...     completion_mask=jnp.array([[1.0, 1.0, 1.0, 1.0, 0.0]]),
    ...     separator_ids=(9,)).tolist()
    [[0, 0, 1, 1, -1]]

  Args:
    completion_tokens: i32[B, T].
    completion_mask: f32[B, T].
    separator_ids: token ids that end a step.

  Returns:
    i32[B, T], -1 outside of the completion.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    completion_tokens=completion_tokens, completion_mask=completion_mask
  )
  ends = jnp.zeros(completion_tokens.shape, bool)
  for separator in separator_ids:
    ends |= completion_tokens == separator
  ends = ends.astype(jnp.int32)
  before = jnp.cumsum(ends, axis=1) - ends
  return jnp.where(completion_mask > 0, before, -1).astype(jnp.int32)


def planning_tokens(
  *,
  completion_tokens: jax.Array,
  completion_mask: jax.Array,
  phrases: tuple = (),
) -> jax.Array:
  """Tokens that lie inside any of the given phrases.

  planning = 1 where a phrase's ids stand in a row, on all of its tokens

  See "Emergent Hierarchical Reasoning in LLMs through Reinforcement Learning"
  (https://arxiv.org/abs/2509.03646): strategic n-grams, matched by a window
  over token ids [paper excerpt, via notes]. The table is found beforehand; a
  phrase has to be listed in every way that the tokenizer writes it.
  Neutral setting: no phrases give no planning tokens.
  Differs from the paper: no.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import derived
    >>> derived.planning_tokens(
    ...     completion_tokens=jnp.array([[3, 4, 5, 4, 4]]),
    ...     completion_mask=jnp.ones((1, 5)),
    ...     phrases=((4, 5),)).tolist()
    [[0.0, 1.0, 1.0, 0.0, 0.0]]

  Args:
    completion_tokens: i32[B, T].
    completion_mask: f32[B, T].
    phrases: tuples of token ids.

  Returns:
    f32[B, T] of zeros and ones.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    completion_tokens=completion_tokens, completion_mask=completion_mask
  )
  for phrase in phrases:
    settings.require(
      isinstance(phrase, tuple | list) and len(phrase) > 0,
      f"phrases holds {phrase!r}: every phrase is a tuple of token ids, such"
      " as (17,)",
    )
  num_tokens = completion_tokens.shape[1]
  tokens = jnp.where(completion_mask > 0, completion_tokens, -1)
  found = jnp.zeros(tokens.shape, bool)
  for phrase in phrases:
    starts = jnp.ones(tokens.shape, bool)
    for offset, token in enumerate(phrase):
      ahead = jnp.pad(
        tokens[:, offset:],
        ((0, 0), (0, min(offset, num_tokens))),
        constant_values=-1,
      )
      starts &= ahead == token
    for offset in range(len(phrase)):
      found |= jnp.pad(starts, ((0, 0), (offset, 0)))[:, :num_tokens]
  return found.astype(completion_mask.dtype)
