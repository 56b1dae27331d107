"""Binding: names to functions, keywords to fields and hyper-parameters."""

import jax.numpy as jnp
import pytest

from rlvr_jax import advantages
from rlvr_jax import errors
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib


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
  part = objective_lib.bound(advantages.grpo_advantages, normalize_std=False)
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


def test_a_method_by_hand():
  method = objective_lib.Objective(
    advantage=objective_lib.bound(advantages.grpo_advantages),
    token_loss=objective_lib.bound(losses.ppo_clip, clip_high=0.28),
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
      {"token_loss": {"name": "ppo_clip", "clip_hi": 0.3}},
      "ppo_clip has no hyper-parameter 'clip_hi': did you mean 'clip_high'",
    ),
    (
      {"token_loss": {"name": "negative_log_likelihood", "clip": 1.0}},
      "negative_log_likelihood has no hyper-parameter 'clip': it has none",
    ),
    (
      {"advantage": {"name": "math:dist"}},
      "the objective names the field 'p', which no run fills",
    ),
    ({"token_weights": ("nope",)}, "config.token_weights is 'nope'"),
  ],
)
def test_mistakes_are_refused_by_name(changes, message):
  with pytest.raises(errors.UserError) as caught:
    objective_lib.bind(_config(**changes))
  assert str(caught.value).startswith(message)
