"""PACED-RL on a decoder whose every completion can be listed.

Two symbols and the end token, at most three tokens: 1 + 2 + 4 completions that
end and 8 that are cut off. Verdicts are chosen so that the policy is right on
three prompts with probability 0.1, 0.5 and 0.9.
"""

import functools
import itertools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import binding
from rlvr_jax import curriculum as curriculum_lib
from rlvr_jax import hooks
from rlvr_jax import keys
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import optimizers
from rlvr_jax import partition_head
from rlvr_jax import records
from rlvr_jax import rewards
from rlvr_jax import schedules
from rlvr_jax import update
from rlvr_jax.data import replay as replay_lib
from rlvr_jax.data import selection
from rlvr_jax.rollouts import sampler
from tests import testing

_END, _LENGTH = 2, 3
_WANTED = (0.1, 0.5, 0.9)
_STEPS = 120


def _completions() -> np.ndarray:
  """All 15, i32[S, T]; the end token also fills the rest."""
  found = {
    tuple(tokens[: tokens.index(_END)] if _END in tokens else tokens)
    for tokens in itertools.product(range(3), repeat=_LENGTH)
  }
  rows = [[*row, *[_END] * (_LENGTH - len(row))] for row in sorted(found)]
  return np.asarray(rows, np.int32)


def _prompts() -> records.PromptBatch:
  return records.PromptBatch(
    prompt_tokens=jnp.asarray([[_END, 0], [_END, 1], [0, 1]], jnp.int32),
    prompt_mask=jnp.asarray([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0]]),
    prompt_ids=jnp.arange(3, dtype=jnp.int32),
    answers={},
  )


def _model():
  return testing.tiny_model(vocab_size=3, num_layers=1, init_std=0.2)


def _probabilities(params) -> np.ndarray:
  """Of every completion of every prompt, f64[3, S]."""
  rows = _completions()
  model = _model()[0]
  scores = testing.score(
    model, params, _prompts(), jnp.asarray(np.tile(rows, (3, 1)))
  )
  ends = np.cumsum(rows == _END, axis=1)
  inside = np.tile(ends - (rows == _END) == 0, (3, 1))
  sums = np.where(inside, np.asarray(scores.logprobs, np.float64), 0.0).sum(1)
  return np.exp(sums).reshape(3, -1)


def _verdicts(probabilities: np.ndarray) -> np.ndarray:
  """Right completions of each prompt, i32[3, S], out of all sets of them."""
  sets = np.asarray(list(itertools.product((0, 1), repeat=15)), np.int32)
  chosen = [
    sets[np.argmin(np.abs(sets @ row - wanted))]
    for row, wanted in zip(probabilities, _WANTED, strict=True)
  ]
  return np.stack(chosen)


def _outcomes(*, completion_tokens, right):
  """Looks completions up: right i32[B, 27] by the number they spell."""
  places = 3 ** jnp.arange(_LENGTH, dtype=jnp.int32)
  numbers = jnp.sum(completion_tokens * places[None], axis=1)
  found = jnp.take_along_axis(right, numbers[:, None], axis=1)[:, 0]
  return jnp.where(
    found > 0,
    records.OUTCOMES.index("correct"),
    records.OUTCOMES.index("wrong"),
  )


def _paced() -> objective_lib.Objective:
  preset = hooks.trajectory_balance.PRESETS["paced"]
  loss = objective_lib.bound(
    losses.trajectory_balance,
    anchor_logprobs=preset["anchor"],
    rewards=preset["rewards"],
    units=preset["units"],
  )
  return objective_lib.Objective(
    sequence_loss=loss,
    scalars={"inv_temp": schedules.Schedule(preset["inv_temp"])},
  )


@pytest.fixture(scope="module")
def trained():
  """State, prompts, curriculum and true accuracies after training."""
  model, params = _model()
  probabilities = _probabilities(params)
  np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
  verdicts = _verdicts(probabilities)
  accuracy = np.sum(verdicts * probabilities, axis=1)
  np.testing.assert_allclose(accuracy, _WANTED, atol=0.01)

  table = np.zeros((3, 27), np.int32)
  table[:, _completions() @ 3 ** np.arange(_LENGTH)] = verdicts
  prompts = _prompts()
  embeddings = jax.jit(
    functools.partial(partition_head.embed_all, model, pooling="mean", chunk=2)
  )(params, prompts)
  prompts = prompts.replace(
    embeddings=embeddings, answers={"right": jnp.asarray(table)}
  )
  config = partition_head.LogPartitionConfig(
    optimizer=optimizers.OptimizerConfig(
      learning_rate=1e-2, schedule="cosine", decay_steps=_STEPS
    )
  )
  head = partition_head.Head(
    config, optimizers.make_optimizer(config.optimizer)
  )
  # All but still: log Z has to be fitted faster than the policy moves.
  optimizer = optimizers.make_optimizer(
    optimizers.OptimizerConfig(learning_rate=1e-6)
  )
  state = testing.train_state(params, optimizer)
  values = head.init(
    jax.random.key(0), 3, embeddings.shape[1], jnp.asarray(0.5)
  )
  state = state.replace(
    log_partition=values,
    log_partition_opt_state=head.optimizer.init(values),
    prompt_stats=curriculum_lib.new_stats(3),
  )
  generate = functools.partial(
    sampler.generate,
    model,
    config=sampler.SamplerConfig(
      num_generations=256, completion_tokens=_LENGTH
    ),
    stop_ids=(_END,),
    pad_id=_END,
  )

  def step(state, _):
    key = keys.stream_key(state.seed, "sample", state.step)
    rollouts = rewards.judge(generate(state.params, prompts, key), _outcomes)
    return update.train_step(
      state,
      rollouts,
      model=model,
      method=_paced(),
      optimizer=optimizer,
      config=update.UpdateConfig(),
      head=head,
    )

  with jax.numpy_dtype_promotion("standard"):
    state, metrics = jax.jit(
      lambda state: lax.scan(step, state, length=_STEPS)
    )(state)
  return state, prompts, head, verdicts, metrics


def test_log_z_becomes_the_accuracy_of_every_prompt(trained):
  state, prompts, head, verdicts, metrics = trained
  kappa = 20.0
  accuracy = np.sum(verdicts * _probabilities(state.params), axis=1)
  found = np.asarray(
    jax.jit(head.accuracy)(state.log_partition, prompts, jnp.asarray(kappa))
  )
  np.testing.assert_allclose(found, accuracy, rtol=0, atol=0.02)
  np.testing.assert_allclose(accuracy, _WANTED, rtol=0, atol=0.02)
  # Not the partition function, which is nearly the same for all three.
  true = np.log1p(accuracy * np.expm1(kappa)) / kappa
  assert np.all(true - found > 0.05)
  assert metrics["policy/loss"][-1] < metrics["policy/loss"][0]
  assert metrics["log_partition/drift"][-1] < 0.01


def test_the_selector_picks_the_prompt_of_half_accuracy(trained):
  state, prompts, head, _, _ = trained
  curriculum = curriculum_lib.Curriculum(
    select=binding.bound(selection.nearest_accuracy, target=0.5),
    batch_size=1,
    candidates=curriculum_lib.CandidatesConfig(),
    max_rounds=1,
    replay=replay_lib.ReplayConfig(),
    head=head,
    method=_paced(),
  )
  plan = functools.partial(curriculum_lib.plan, curriculum=curriculum)
  found, _, _ = jax.jit(plan)(state, prompts, None, 0)
  assert found.prompts.prompt_ids.tolist() == [1]
  np.testing.assert_allclose(
    found.prompts.accuracy_estimates, 0.5, rtol=0, atol=0.02
  )
