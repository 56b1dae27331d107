"""Means over tokens of one update, by hand."""

import jax.numpy as jnp
import numpy as np

from rlvr_jax.metrics import policy


def test_values_by_hand():
  rows = lambda *values: jnp.asarray([values], jnp.float32)
  means = policy.token_means(
    {
      "completion_mask": rows(1.0, 1.0, 0.0),
      "logprobs": rows(-1.0, -2.0, jnp.nan),
      "old_logprobs": rows(-1.0, -2.5, 0.0),
      "entropies": rows(0.2, 0.4, jnp.nan),
      "sampler_logprobs": rows(-1.1, -2.0, 0.0),
      "log_kept_mass": rows(0.0, -0.2, 0.0),
    }
  )
  found = {name: mean.value() for name, mean in means.items()}
  ratio = np.exp(0.5)
  expected = {
    "entropy": 0.3,
    "ratio_gap": (ratio - 1) / 2,
    "kl_old": (ratio - 1 - 0.5) / 2,
    "sampler_gap": (0.1 + 0.2) / 2,
    # The first token of two is the opening quarter, rounded up.
    "entropy_opening": 0.2,
    "entropy_last": 0.4,
    "decided_frac": 0.0,
    "ratio_low_frac": 0.0,
    "ratio_high_frac": 0.5,
    # Gaps of old_logprobs: 0.1 and -0.3.
    "sampler_old_gap": (0.1 + 0.3) / 2,
    "sampler_shift": (0.1 - 0.3) / 2,
    "sampler_gap_square": (0.1**2 + 0.3**2) / 2,
  }
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-5)


def _scored(logits, temperature):
  """Log-probabilities and entropy of all tokens, as if each were drawn."""
  scaled = np.asarray(logits, np.float64) / temperature
  logprobs = scaled - np.log(np.sum(np.exp(scaled)))
  return logprobs, -np.sum(np.exp(logprobs) * logprobs)


def test_a_slope_is_the_log_of_the_ratio_of_temperatures():
  rng = np.random.default_rng(0)
  rows = [rng.normal(size=12) for _ in range(6)]
  sampled, entropies = zip(*(_scored(row, 1.0) for row in rows), strict=True)
  trained = [_scored(row, 1.05)[0] for row in rows]
  weights = np.exp(sampled)
  fields = {
    # Every token counts as often as it is drawn.
    "completion_mask": jnp.asarray(weights, jnp.float32),
    "logprobs": jnp.asarray(trained, jnp.float32),
    "old_logprobs": jnp.asarray(trained, jnp.float32),
    "entropies": jnp.zeros((6, 12)),
    "sampler_logprobs": jnp.asarray(sampled, jnp.float32),
    "log_kept_mass": jnp.zeros((6, 12)),
    "frozen_entropies": jnp.asarray(
      np.repeat(np.asarray(entropies)[:, None], 12, axis=1), jnp.float32
    ),
  }
  means = policy.token_means(fields)
  found = {name: float(mean.value()) for name, mean in means.items()}
  assert abs(found["sampler_slope"] + np.log(1.05)) < 0.003
  explained = (
    found["sampler_slope"] ** 2
    * found["sampler_surprise_square"]
    / found["sampler_gap_square"]
  )
  assert 0.98 < explained <= 1.0 + 1e-5
  # -KL, about minus half of the mean square.
  half = found["sampler_gap_square"] / 2
  assert abs(found["sampler_shift"] + half) < 0.1 * half


def test_entropies_by_place_and_shares_skip_pads():
  nan = jnp.nan
  means = policy.token_means(
    {
      "completion_mask": jnp.asarray([[1.0] * 5, [1.0, 0.0, 0.0, 0.0, 0.0]]),
      "logprobs": jnp.asarray([[-1.0, -1.3, -0.8, -1.0, -1.0], [-1.0] * 5]),
      "old_logprobs": jnp.full((2, 5), -1.0),
      "entropies": jnp.asarray(
        [[3.0, 1.0, 0.005, 0.0, 2.0], [0.5, nan, nan, nan, nan]]
      ),
    }
  )
  found = {name: float(mean.value()) for name, mean in means.items()}
  # Two of five tokens, and the only one of the second row, which is last too.
  np.testing.assert_allclose(found["entropy_opening"], 4.5 / 3, rtol=1e-6)
  np.testing.assert_allclose(found["entropy_last"], 2.5 / 2, rtol=1e-6)
  np.testing.assert_allclose(found["decided_frac"], 2 / 6, rtol=1e-6)
  np.testing.assert_allclose(found["ratio_low_frac"], 1 / 6, rtol=1e-6)
  np.testing.assert_allclose(found["ratio_high_frac"], 1 / 6, rtol=1e-6)


def test_the_trust_region_is_a_fifth_wide():
  fields = {
    name: jnp.zeros((1, 3))
    for name in ("completion_mask", "old_logprobs", "entropies")
  }
  fields["completion_mask"] = jnp.ones((1, 3))
  fields["logprobs"] = jnp.log(jnp.asarray([[0.79, 0.81, 1.25]]))
  means = policy.token_means(fields)
  shares = [means[f"ratio_{end}_frac"].value() for end in ("low", "high")]
  np.testing.assert_allclose(shares, [1 / 3, 1 / 3], rtol=1e-6)


def test_demonstrations_have_no_sampler():
  batch = {
    name: jnp.zeros((1, 2))
    for name in ("completion_mask", "logprobs", "old_logprobs", "entropies")
  }
  assert "sampler_gap" not in policy.token_means(batch)


def _rows(**changes):
  """Three rows of two prompts; a pad holds nothing that counts."""
  old = jnp.asarray([[-1.0, -2.0], [-1.0, 0.0], [-3.0, -1.0]])
  moved = jnp.asarray([[0.5, -0.5], [0.2, jnp.nan], [0.0, 0.0]])
  fields = {
    "completion_mask": jnp.asarray([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]]),
    "logprobs": old + moved,
    "old_logprobs": old,
    "group_ids": jnp.asarray([0, 0, 1]),
  }
  return fields | changes


def _k3(*log_ratios):
  return sum(np.exp(x) - 1 - x for x in log_ratios)


def test_divergences_of_responses_by_hand():
  fields = _rows()
  fields["ref_logprobs"] = fields["logprobs"] - 0.1
  found = policy.row_measures(fields)
  assert found.keys() == {"response_kl_old", "response_kl_ref"}
  np.testing.assert_allclose(
    found["response_kl_old"], [_k3(0.5, -0.5), _k3(0.2), 0.0], rtol=1e-5
  )
  # Under current against reference: the ratio is reference to current.
  np.testing.assert_allclose(
    found["response_kl_ref"],
    [_k3(-0.1, -0.1), _k3(-0.1), _k3(-0.1, -0.1)],
    rtol=1e-3,
  )
  assert policy.row_measures(_rows()).keys() == {"response_kl_old"}


def test_divergences_stay_finite_and_weigh_tokens_once():
  far = _rows()
  far["logprobs"] = far["logprobs"] + 500.0
  assert np.all(np.isfinite(policy.row_measures(far)["response_kl_old"]))
  double = _rows(completion_mask=2 * _rows()["completion_mask"])
  np.testing.assert_array_equal(
    policy.row_measures(double)["response_kl_old"],
    policy.row_measures(_rows())["response_kl_old"],
  )


def test_a_summary_of_rows_by_hand():
  fields = _rows(
    completion_mask=jnp.asarray([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]),
    inv_temp=jnp.asarray(20.0),
  )
  rows = {
    "response_kl_old": jnp.asarray([0.2, 0.4, 9.0]),
    "residuals": jnp.asarray([-1.0, 3.0, jnp.inf]),
  }
  expected = {
    "response_kl_old": 0.3,
    "response_kl_old_max": 0.3,  # the mean of the first prompt's rows
    "residuals": 1.0,
    "residuals_var": 4.0,
    "residuals_max": 3.0,
    "kl_old_over_kappa": 0.3 / 20,
    "kl_old_over_kappa_max": 0.3 / 20,
  }
  found = policy.row_summary(rows, fields)
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-5)


def test_the_largest_divergence_is_that_of_a_prompt():
  rows = {"response_kl_old": jnp.asarray([0.0, 0.6, 0.5])}
  found = policy.row_summary(rows, _rows())
  np.testing.assert_allclose(found["response_kl_old_max"], 0.5, rtol=1e-6)
  assert "kl_old_over_kappa" not in found


def test_an_update_without_any_row_sums_up_to_zeros():
  fields = {
    "completion_mask": jnp.zeros((2, 3)),
    "group_ids": jnp.zeros(2, jnp.int32),
    "inv_temp": jnp.asarray(2.0),
  }
  rows = {"response_kl_old": jnp.ones(2), "residuals": jnp.ones(2)}
  for name, value in policy.row_summary(rows, fields).items():
    assert value == 0.0, name
