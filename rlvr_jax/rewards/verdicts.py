"""From what a device verifier found out to how each row ended."""

import jax
import jax.numpy as jnp

from rlvr_jax import records


def verdicts(
  *, ended: jax.Array, parsed: jax.Array, right: jax.Array
) -> jax.Array:
  """The outcome of each row; the first that holds counts.

  Args:
    ended: bool[B], false is "truncated".
    parsed: bool[B], false is "unparsed".
    right: bool[B], "correct" or "wrong".

  Returns:
    i32[B], indices into `records.OUTCOMES`.
  """
  name = records.OUTCOMES.index
  judged = jnp.where(right, name("correct"), name("wrong"))
  of_ended = jnp.where(parsed, judged, name("unparsed"))
  return jnp.where(ended, of_ended, name("truncated")).astype(jnp.int32)
