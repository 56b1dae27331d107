"""Added terms: estimates of a divergence, entropy, and their reductions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import credit
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import token_weights
from tests import batches

_bound = objective_lib.bound

# Log-ratios to the reference: 0.5, -0.5 and 0.
_LOGPROBS = jnp.asarray([[-1.0, -1.5, -1.0]])
_REFERENCE = jnp.asarray([[-1.5, -1.0, -1.0]])


@pytest.mark.parametrize(
  "method, values, slopes",
  [
    (losses.kl_k1, [0.5, -0.5, 0.0], [1.0, 1.0, 1.0]),
    # 0.5^2 / 2; slope: the log-ratio.
    (losses.kl_k2, [0.125, 0.125, 0.0], [0.5, -0.5, 0.0]),
    # exp(-0.5) - 1 + 0.5 and exp(0.5) - 1 - 0.5; slope 1 - exp(-log-ratio).
    (losses.kl_k3, [0.106531, 0.148721, 0.0], [0.393469, -0.648721, 0.0]),
  ],
)
def test_the_three_estimates(method, values, slopes):
  term = lambda x: method(logprobs=x, ref_logprobs=_REFERENCE)
  for call in (term, jax.jit(term)):
    np.testing.assert_allclose(call(_LOGPROBS), [values], rtol=1e-5)
  gradient = jax.grad(lambda x: jnp.sum(term(x)))(_LOGPROBS)
  np.testing.assert_allclose(gradient, [slopes], rtol=1e-5)


def test_the_third_estimate_is_exact_for_small_ratios():
  # x^2 / 2 - x^3 / 6 at x = 1e-3; exp(x) - 1 - x loses its digits there.
  found = losses.kl_k3(
    logprobs=jnp.asarray([[-1e-3]]), ref_logprobs=jnp.zeros((1, 1))
  )
  np.testing.assert_allclose(found, [[5e-7 + 1e-9 / 6]], rtol=1e-3)


def test_the_third_estimate_is_never_negative():
  log_ratios = jnp.linspace(-0.01, 0.01, 2001)[None]
  found = losses.kl_k3(
    logprobs=log_ratios - 1.0, ref_logprobs=jnp.full_like(log_ratios, -1.0)
  )
  assert jnp.min(found) >= 0.0


def test_the_entropy_term_falls_as_entropy_rises():
  term = lambda x: losses.entropy_bonus(entropies=x)
  entropies = jnp.asarray([[0.5, 2.0]])
  np.testing.assert_array_equal(term(entropies), [[-0.5, -2.0]])
  gradient = jax.jit(jax.grad(lambda x: jnp.sum(term(x))))(entropies)
  np.testing.assert_array_equal(gradient, [[-1.0, -1.0]])


# ------------------------------------------------------------ as added terms

# Four rows of one token.
_ROWS = {
  "completion_mask": jnp.ones((4, 1)),
  "valid": jnp.ones(4),
  "rewards": jnp.asarray([1.0, 0.0, 1.0, 0.0]),
  "logprobs": -jnp.asarray([[1.0], [2.0], [3.0], [4.0]]),
}


def minus_logprobs(*, logprobs):
  return -logprobs


def _loss(fields=_ROWS, token_loss=losses.reinforce, **changes):
  method = objective_lib.Objective(
    advantage=_bound(batches.plain_rewards),
    token_loss=_bound(token_loss),
    **changes,
  )
  return credit.whole_loss(method, fields)


def first_half(*, completion_mask):
  rows = jnp.arange(completion_mask.shape[0])[:, None] < 2
  return token_weights.TokenShape(mask=rows.astype(completion_mask.dtype))


def row_term(*, rewards):
  return 10.0 * rewards


def marked(*, completion_mask):
  return completion_mask.at[:3].set(0.0)


def test_terms_per_token_hold_on_every_generated_token():
  loss, terms = _loss(
    token_weights=(_bound(first_half),),
    regularizers=(_bound(minus_logprobs, coef=0.5),),
  )
  # Rewards 1, 0, 1, 0; row 0 alone is summed: 1 * 1 over four tokens. The
  # term is (1 + 2 + 3 + 4) / 4, half of it.
  assert terms["policy"].value() == 0.25
  assert terms["minus_logprobs"].value() == 2.5
  assert loss == 0.25 + 0.5 * 2.5


def test_terms_per_response_are_averaged_over_responses_with_tokens():
  fields = _ROWS | {"completion_mask": jnp.ones((4, 1)).at[3].set(0.0)}
  loss, terms = _loss(
    fields,
    token_loss=one_per_token,
    regularizers=(_bound(row_term, coef=0.1),),
  )
  # Rewards 1, 0, 1 of three rows: 20 / 3, a tenth of it, beside 1.
  assert terms["row_term"].count == 3.0
  np.testing.assert_allclose(loss, 1.0 + 2.0 / 3.0, rtol=1e-6)


def one_per_token(*, logprobs):
  return jnp.ones_like(logprobs)


def test_a_term_over_a_field_sums_and_counts_its_tokens_alone():
  _, terms = _loss(
    derived=(_bound(marked),),
    regularizers=(_bound(minus_logprobs, over="marked"),),
  )
  # Row 3 alone.
  term = terms["minus_logprobs"]
  assert (term.total, term.count) == (4.0, 1.0)
