"""Tokens that are kept for a report, with the credit of the whole batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlvr_jax import advantages
from rlvr_jax import credit
from rlvr_jax import errors
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import records
from rlvr_jax import token_columns
from rlvr_jax import token_weights
from rlvr_jax import update
from rlvr_jax.data import vocabulary
from tests import testing

_SYMBOLS = vocabulary.Vocabulary(("<pad>", "<eos>", *"abcdefghi"))
_GRPO = objective_lib.Objective(
  advantage=objective_lib.bound(advantages.grpo_advantages),
  token_loss=objective_lib.bound(losses.ppo_clip),
)
# Weighs by the current policy's entropies, of the whole batch.
_FORKING = _GRPO._replace(
  token_weights=(
    objective_lib.bound(token_weights.forking_token_mask, keep_frac=0.4),
  )
)
_BALANCE = objective_lib.Objective(
  sequence_loss=objective_lib.bound(testing.mean_logprob)
)


def _looked(method, batch, prompts=2, **config):
  model, params = testing.tiny_model()
  fields = functools.partial(
    update.first_fields,
    model=model,
    method=method,
    config=update.UpdateConfig(**config),
  )
  look = token_columns.make_look(
    fields, method, token_columns.ReportConfig(token_prompts=prompts)
  )
  state = testing.train_state(params, optax.sgd(0.1))
  return jax.device_get(jax.jit(look)(state, batch))


def test_the_first_prompts_are_shown_with_all_their_rows():
  batch = testing.rollout_batch(num_prompts=4, samples=3)
  found = _looked(_GRPO, batch)
  assert found["prompt_tokens"].shape == (2, 5)
  assert {len(x) for k, x in found.items() if "prompt" not in k} == {6}
  np.testing.assert_array_equal(found["group_ids"], [0, 0, 0, 1, 1, 1])
  np.testing.assert_array_equal(found["logprobs"], batch.sampler_logprobs[:6])
  np.testing.assert_array_equal(found["entropies"], batch.frozen_entropies[:6])


def test_no_more_prompts_are_shown_than_there_are():
  batch = testing.rollout_batch(num_prompts=2, samples=2)
  assert len(_looked(_GRPO, batch, prompts=9)["group_ids"]) == 4


def test_the_weight_is_the_advantage_on_judged_tokens():
  batch = testing.rollout_batch(num_prompts=4, samples=2)
  batch = batch.replace(valid=batch.valid.at[1].set(0.0))
  found = _looked(_GRPO, batch)["weights"]
  values = advantages.grpo_advantages(
    rewards=batch.rewards, group_ids=batch.group_ids, valid=batch.valid
  )
  expected = values[:, None] * batch.completion_mask * batch.valid[:, None]
  np.testing.assert_allclose(found, expected[:4], atol=1e-6)
  assert np.any(found[2:] != 0)


@pytest.mark.parametrize("parts", [1, 4])
def test_credit_that_looks_at_the_policy_is_that_of_the_whole_batch(parts):
  batch = testing.rollout_batch(num_prompts=4, samples=2)
  model, params = testing.tiny_model()
  scores = testing.score(model, params, batch.prompts, batch.completion_tokens)
  fields = credit.assign_credit(_FORKING, records.fields(batch))
  fields = credit.refine_credit(
    _FORKING,
    fields | {"logprobs": scores.logprobs, "entropies": scores.entropies},
  )
  expected = fields["token_advantages"] * fields["loss_mask"]
  found = _looked(_FORKING, batch, num_micro_batches=parts)["weights"]
  np.testing.assert_allclose(found, expected[:4], atol=1e-6)
  kept = np.count_nonzero(expected)
  assert 0 < kept < 0.6 * np.sum(np.asarray(batch.completion_mask))


def test_without_an_advantage_there_is_no_weight():
  batch = testing.rollout_batch()
  assert "weights" not in _looked(_BALANCE, batch)


def test_the_gap_to_a_teacher_is_that_of_rows_that_have_one():
  batch = testing.rollout_batch(num_prompts=2, samples=2)
  batch = batch.replace(
    teacher_logprobs=batch.sampler_logprobs - 1.0,
    has_teacher=jnp.asarray([1.0, 0.0, 1.0, 1.0]),
  )
  found = _looked(_GRPO, batch)["d_hat"]
  expected = batch.completion_mask * batch.has_teacher[:, None]
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_lines_hold_texts_and_short_numbers():
  looked = {
    "prompt_tokens": np.asarray([[0, 2, 3]]),
    "prompt_mask": np.asarray([[0.0, 1.0, 1.0]]),
    "completion_tokens": np.asarray([[4, 0, 1, 0]]),
    "completion_mask": np.asarray([[1.0, 1.0, 1.0, 0.0]]),
    "group_ids": np.asarray([0]),
    "outcomes": np.asarray([0]),
    "is_correct": np.asarray([1.0]),
    "rewards": np.asarray([0.123456]),
    "logprobs": np.asarray([[-1.23456, np.nan, -0.00001234567, 5.0]]),
    "entropies": np.zeros((1, 4)),
  }
  (line,) = token_columns.lines(looked, _SYMBOLS)
  assert line == {
    "prompt": "ab",
    "outcome": "correct",
    "is_correct": True,
    "reward": 0.1235,
    "group": 0,
    "tokens": ["c", "<pad>", "<eos>"],
    "logprobs": [-1.235, None, -1.235e-05],
    "entropies": [0.0, 0.0, 0.0],
  }


def test_less_than_no_prompt_is_refused():
  with pytest.raises(errors.UserError, match="token_prompts is -1: set it to"):
    token_columns.ReportConfig(token_prompts=-1)
