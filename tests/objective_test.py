"""Binding: names to functions, keywords to fields."""

import jax
import jax.numpy as jnp
import pytest

from rlvr_jax import advantages
from rlvr_jax import errors
from rlvr_jax import hooks
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib

_bound = objective_lib.bound


def _config(**changes):
  config = {
    "advantage": {"name": "grpo_advantages", "normalize_std": False},
    "token_loss": {"name": "ppo_clip", "clip_high": 0.28},
    "aggregate": "token_mean",
  }
  return config | changes


def user_loss(*, logprobs, is_correct, scale=2.0):
  """A token loss that lives outside the library."""
  return -scale * logprobs * is_correct[:, None]


def user_weight(*, frozen_entropies, power=1.0):
  """A token weight that lives outside the library."""
  return frozen_entropies**power, 0.0, 1.0


def entropies(*, logprobs):
  """A derived function with the name of a field that every run fills."""
  return logprobs


def test_names_become_functions_with_their_settings():
  method = objective_lib.bind(_config())
  assert method.advantage.function is advantages.grpo_advantages
  assert method.advantage.settings == {"normalize_std": False}
  assert method.token_loss.function is losses.ppo_clip
  assert method.aggregate.function is losses.token_mean


def test_keywords_without_default_are_fields():
  method = objective_lib.bind(_config())
  assert objective_lib.needed_fields(method) == {
    "rewards", "group_ids", "valid",
    "logprobs", "old_logprobs", "token_advantages",
  }  # fmt: skip


def test_a_bound_function_is_called_with_its_fields_alone():
  part = _bound(advantages.grpo_advantages, normalize_std=False)
  found = part(
    {
      "rewards": jnp.asarray([1.0, 0.0]),
      "group_ids": jnp.zeros(2, jnp.int32),
      "valid": jnp.ones(2),
      "unrelated": None,
    }
  )
  assert found.tolist() == [0.5, -0.5]


def test_functions_by_import_path():
  method = objective_lib.bind(
    _config(
      token_loss={"name": f"{__name__}:user_loss", "scale": 3.0},
      token_weights=(f"{__name__}:user_weight",),
      user_weight={"power": 2.0},
    )
  )
  assert method.token_loss.settings == {"scale": 3.0}
  assert method.token_weights[0].settings == {"power": 2.0}
  assert "is_correct" in objective_lib.needed_fields(method)


def test_a_regularizer_has_a_coefficient():
  method = objective_lib.bind(
    _config(
      regularizers=("negative_log_likelihood",),
      negative_log_likelihood={"coef": 0.1},
    )
  )
  assert method.regularizers[0].coef == 0.1


def test_every_hook_takes_its_functions_and_their_blocks():
  method = objective_lib.bind(
    _config(
      reward_shaping=("overlong_penalty", "sequence_kl_penalty"),
      overlong_penalty={"max_tokens": 16, "buffer_tokens": 4},
      filters=("mixed_groups",),
      token_weights=("forking_token_mask", "hicra_weights"),
      forking_token_mask={"keep_frac": 0.5},
      behavior=("truncated_importance",),
      truncated_importance={"cap": 3.0},
      regularizers=("kl_k3", "entropy_bonus"),
      kl_k3={"coef": 0.01},
      aggregate={"name": "fixed_length", "length": 32},
      derived=("planning_tokens",),
      planning_tokens={"phrases": ((4, 5),)},
    )
  )
  found = {
    hook: [(part.name, part.settings, part.coef) for part in parts]
    for hook, parts in objective_lib.functions(method).items()
  }
  assert found == {
    "reward_shaping": [
      ("overlong_penalty", {"max_tokens": 16, "buffer_tokens": 4}, 1.0),
      ("sequence_kl_penalty", {}, 1.0),
    ],
    "advantage": [("grpo_advantages", {"normalize_std": False}, 1.0)],
    "filters": [("mixed_groups", {}, 1.0)],
    "token_weights": [
      ("forking_token_mask", {"keep_frac": 0.5}, 1.0),
      ("hicra_weights", {}, 1.0),
    ],
    "behavior": [("truncated_importance", {"cap": 3.0}, 1.0)],
    "token_loss": [("ppo_clip", {"clip_high": 0.28}, 1.0)],
    "sequence_loss": [],
    "regularizers": [("kl_k3", {}, 0.01), ("entropy_bonus", {}, 1.0)],
    "aggregate": [("fixed_length", {"length": 32}, 1.0)],
    "derived": [("planning_tokens", {"phrases": ((4, 5),)}, 1.0)],
  }
  assert list(found) == list(hooks.ROOMS)
  # Every field but the derived one has to come from the run.
  needed = objective_lib.needed_fields(method)
  assert {"ref_logprobs", "sampler_logprobs", "completion_tokens"} <= needed
  assert "planning_tokens" not in needed


def test_a_sequence_loss_takes_the_place_of_a_token_loss():
  config = _config(sequence_loss="tests.testing:mean_logprob")
  del config["token_loss"]
  method = objective_lib.bind(config)
  assert method.token_loss is None
  assert method.sequence_loss.function.__name__ == "mean_logprob"


def test_a_method_by_hand():
  method = objective_lib.Objective(
    advantage=_bound(advantages.grpo_advantages),
    token_loss=_bound(losses.ppo_clip, clip_high=0.28),
  )
  assert method.aggregate.function is losses.token_mean


@pytest.mark.parametrize(
  "changes, message",
  [
    (
      {"advantage": {"name": "grpo_advantage"}},
      "config.advantage.name is 'grpo_advantage': did you mean"
      " 'grpo_advantages'",
    ),
    (
      {"aggregate": "token_means"},
      "config.aggregate.name is 'token_means': did you mean 'token_mean'",
    ),
    (
      {"token_loss": {"name": "ppo_clip", "clip_hi": 0.3}},
      "ppo_clip has no hyper-parameter 'clip_hi': did you mean 'clip_high'",
    ),
    (
      {"token_loss": {"name": "negative_log_likelihood", "clip": 1.0}},
      "negative_log_likelihood has no hyper-parameter 'clip': it has none",
    ),
    # A field is no number.
    (
      {"token_loss": {"name": "ppo_clip", "old_logprobs": 0.0}},
      "ppo_clip: old_logprobs is 0.0, but it takes a field of the batch: ",
    ),
    (
      {"filters": ("mixed_groups",), "mixed_groups": {"low": 0.1}},
      "mixed_groups has no hyper-parameter 'low': it has none: remove it",
    ),
    (
      {"advantage": {"name": "math:dist"}},
      "the objective names the field 'p', which no run fills",
    ),
    ({"token_weights": ("nope",)}, "config.token_weights is 'nope'"),
    (
      {"token_weights": ("mixed_groups",)},
      "config.token_weights is 'mixed_groups': choose one of antisd,",
    ),
    (
      {"reward_shaping": ("overlong_penality",)},
      "config.reward_shaping is 'overlong_penality': did you mean"
      " 'overlong_penalty'",
    ),
    (
      {"regularizers": ("kl_k4",)},
      "config.regularizers is 'kl_k4': did you mean 'kl_k",
    ),
    # One loss, and not two.
    (
      {"sequence_loss": "tests.testing:mean_logprob"},
      "config.token_loss and config.sequence_loss name ppo_clip and"
      " mean_logprob: a method has one of them",
    ),
    (
      {"token_loss": None},
      "config.token_loss and config.sequence_loss name neither: a method has"
      " one of them",
    ),
    (
      {"regularizers": ("kl_k3", "kl_k2", "kl_k3")},
      "config.regularizers names kl_k3 twice: their settings would be shared,"
      " so list it once",
    ),
    # Derived fields.
    (
      {"derived": (f"{__name__}:entropies",)},
      "config.derived names entropies, a field that every run fills: give the"
      " function another name",
    ),
    (
      {"token_loss": "kl_cov"},
      "the objective names the field 'kl_cov_tokens', which no run fills: ",
    ),
    (
      {"token_weights": ("empg_weights",)},
      "the objective names the field 'segment_ids', which no run fills: ",
    ),
    # Only an added term has a coefficient and tokens of its own.
    (
      {"token_loss": {"name": "ppo_clip", "coef": 0.5}},
      "config.token_loss gives ppo_clip a coef or over: only regularizers have",
    ),
    (
      {"filters": ("mixed_groups",), "mixed_groups": {"over": "loss_mask"}},
      "config.filters gives mixed_groups a coef or over: only regularizers",
    ),
    (
      {"regularizers": ("kl_k3",), "kl_k3": {"over": "planing_tokens"}},
      "the objective names the field 'planing_tokens', which no run fills: ",
    ),
  ],
)
def test_mistakes_are_refused_by_name(changes, message):
  with pytest.raises(errors.UserError) as caught:
    objective_lib.bind(_config(**changes))
  assert str(caught.value).startswith(message)
  assert "\n" not in str(caught.value)


def test_a_missing_field_comes_with_its_remedy():
  with pytest.raises(errors.UserError) as caught:
    objective_lib.bind(_config(token_loss="clip_cov"))
  message = str(caught.value)
  assert "'clip_cov_tokens'" in message
  assert "name a function of that name in config.derived" in message
  objective_lib.bind(
    _config(token_loss="clip_cov", derived=("clip_cov_tokens",))
  )


def test_the_field_of_a_term_is_a_field_that_the_method_needs():
  method = objective_lib.bind(
    _config(
      regularizers=("negative_log_likelihood",),
      negative_log_likelihood={"over": "planning_tokens", "coef": 0.1},
      derived=("planning_tokens",),
    )
  )
  assert method.regularizers[0].over == "planning_tokens"
  assert "completion_tokens" in objective_lib.needed_fields(method)


def test_a_bound_function_can_be_compiled_as_it_is():
  part = objective_lib.bound(losses.negative_log_likelihood)
  found = jax.jit(part)({"logprobs": -jnp.ones((1, 2))})
  assert found.tolist() == [[1.0, 1.0]]
