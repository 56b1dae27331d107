"""Draws follow the distribution they report."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax.rollouts import sampling

_PROBS = np.array([0.05, 0.4, 0.0, 0.3, 0.2, 0.05])


def _logits(rows):
  with np.errstate(divide="ignore"):
    return jnp.asarray(np.tile(np.log(_PROBS), (rows, 1)), jnp.float32)


def _grid(rows):
  """Uniforms in the middle of equal cells: exact counts, no luck."""
  return (jnp.arange(rows, dtype=jnp.float32) + 0.5) / rows


def _frequencies(drawn, rows):
  return np.bincount(np.asarray(drawn.tokens), minlength=6) / rows


def test_frequencies_follow_the_probabilities():
  drawn = sampling.draw(_logits(1000), _grid(1000))
  np.testing.assert_allclose(_frequencies(drawn, 1000), _PROBS, atol=1e-3)


def test_logprobs_are_those_of_the_tokens():
  drawn = sampling.draw(_logits(50), _grid(50))
  np.testing.assert_allclose(
    drawn.logprobs, np.log(_PROBS[np.asarray(drawn.tokens)]), atol=1e-5
  )
  np.testing.assert_array_equal(drawn.log_kept_mass, np.zeros(50))


def test_entropy_and_mean_are_of_the_whole_vocabulary():
  logits = jnp.asarray(np.log([[0.25, 0.75]]), jnp.float32)
  drawn = sampling.draw(logits, _grid(1), top_k=1)
  np.testing.assert_allclose(drawn.entropies, [0.562335], atol=1e-5)
  np.testing.assert_allclose(
    drawn.mean_logprobs, [np.log(0.25 * 0.75) / 2], atol=1e-5
  )


def test_a_token_without_probability_is_never_drawn():
  edges = jnp.asarray([0.0, 0.05, 0.45, 0.75, 0.95, 1 - 2**-23], jnp.float32)
  drawn = sampling.draw(_logits(6), edges)
  assert np.all(_PROBS[np.asarray(drawn.tokens)] > 0)
  assert np.all(np.isfinite(drawn.logprobs))
  assert np.all(np.isfinite(drawn.entropies))


@pytest.mark.parametrize("seed", range(3))
def test_extreme_uniforms_never_fall_off_a_large_vocabulary(seed):
  logits = 4 * jax.random.normal(jax.random.key(seed), (4, 50_021))
  logits = logits.at[:, -1].set(-jnp.inf)
  uniforms = jnp.asarray([0.0, 1e-7, 0.5, 1 - 2**-23], jnp.float32)
  tokens = sampling.draw(logits, uniforms).tokens
  assert np.all(np.isfinite(logits[np.arange(4), tokens]))


@pytest.mark.parametrize(
  "truncation, kept",
  [
    (dict(top_k=2), [1, 3]),
    (dict(top_p=0.65), [1, 3]),
    # The token that crosses the line stays.
    (dict(top_p=0.75), [1, 3, 4]),
    (dict(top_p=1e-6), [1]),
    (dict(min_p=0.5), [1, 3, 4]),
    (dict(top_k=3, min_p=0.7), [1, 3]),
  ],
)
def test_truncation_keeps_and_reports(truncation, kept):
  drawn = sampling.draw(_logits(1000), _grid(1000), **truncation)
  mass = _PROBS[kept].sum()
  expected = np.zeros(6)
  expected[kept] = _PROBS[kept] / mass
  np.testing.assert_allclose(_frequencies(drawn, 1000), expected, atol=2e-3)
  np.testing.assert_allclose(drawn.log_kept_mass, np.log(mass), atol=1e-5)
  # Log-probabilities are of the truncated distribution.
  np.testing.assert_allclose(
    drawn.logprobs, np.log(expected[np.asarray(drawn.tokens)]), atol=1e-5
  )


def test_ties_at_the_edge_of_top_k_are_all_kept():
  logits = jnp.zeros((100, 4))
  drawn = sampling.draw(logits, _grid(100), top_k=2)
  assert len(np.unique(drawn.tokens)) == 4
  np.testing.assert_allclose(drawn.logprobs, np.log(0.25), atol=1e-6)


def test_temperature_tempers_and_zero_is_greedy():
  temperatures = jnp.asarray([0.0, 0.5, 1.0, 2.0], jnp.float32)
  drawn = sampling.draw(
    _logits(4), jnp.full(4, 0.999, jnp.float32), temperature=temperatures
  )
  assert drawn.tokens[0] == 1
  assert drawn.logprobs[0] == 0.0
  np.testing.assert_allclose(drawn.log_kept_mass[0], np.log(0.4), atol=1e-5)
  for row, power in ((1, 2.0), (2, 1.0), (3, 0.5)):
    tempered = _PROBS**power / np.sum(_PROBS**power)
    np.testing.assert_allclose(
      drawn.logprobs[row], np.log(tempered[drawn.tokens[row]]), atol=1e-5
    )
