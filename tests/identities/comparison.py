"""Two methods on one random batch of unequal lengths: value and gradient.

They are compared through the whole of credit and loss; the clip binds here and
there. Gradients are those of the log-probabilities, of the sampled tokens and
of the candidates, and of the entropies.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import credit
from tests import batches


def value_and_gradients(method, fields):
  names = ("logprobs", "entropies", "support_logprobs")

  def loss(*live):
    live = dict(zip(names, live, strict=True))
    return credit.whole_loss(method, fields | live)[0]

  value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(
    *(fields[name] for name in names)
  )
  # Two methods without any gradient would agree on everything.
  assert max(jnp.max(jnp.abs(gradients[i])) for i in (0, 2)) > 1e-3
  return value, gradients


def assert_same(
  one, other, fields=None, *, factor=1.0, exact=False, value=True
):
  """`one` is `factor` times `other`; without value, in its gradient alone."""
  fields = batches.fields() if fields is None else fields
  found, found_gradients = value_and_gradients(one, fields)
  expected, expected_gradients = value_and_gradients(other, fields)
  tolerance = dict(rtol=0, atol=0) if exact else dict(rtol=1e-6, atol=1e-7)
  compare = functools.partial(np.testing.assert_allclose, **tolerance)
  if value:
    compare(found, factor * expected)
  for gradient, other_gradient in zip(
    found_gradients, expected_gradients, strict=True
  ):
    compare(gradient, factor * other_gradient)
