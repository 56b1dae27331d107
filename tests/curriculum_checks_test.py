"""Head, selection, replay and refills that cannot work: one sentence each."""

import numpy as np
import pytest

from experiments import common
from rlvr_jax import checks
from rlvr_jax import errors
from rlvr_jax import experiment as experiment_lib


def own_loss(*, log_partition, is_correct):
  """A user's own, which does without kappa."""
  return (log_partition - is_correct) ** 2


def _config():
  """PACED-RL on a task that runs anywhere; every part is there."""
  config = common.base("tiny").to_dict()
  return config | dict(
    scalars=dict(inv_temp=20.0),
    sequence_loss=dict(
      name="trajectory_balance", anchor_logprobs="old_logprobs"
    ),
    log_partition=dict(optimizer=dict(learning_rate=1e-3)),
    selection=dict(name="nearest_accuracy"),
    replay=dict(capacity=16, insert_rows=8, replay_rows=8),
  )


def _load(changes=(), without=()):
  """Loads the configuration with blocks replaced or keys set in them."""
  config = _config()
  for path, value in dict(changes).items():
    *blocks, key = path.split(".")
    block = config
    for name in blocks:
      block[name] = dict(block.get(name, {}))
      block = block[name]
    block[key] = value
  for name in without:
    del config[name]
  return experiment_lib.load(config)


_LIVE = {"log_partition.embedding": "live"}
_NO_REPLAY = {"replay": dict(capacity=0)}
_ORACLE = {"candidates": dict(num_prompts=64, num_generations=4)}
_UNIFORM = {"selection": "uniform"}
_VARGRAD = {
  "derived": ("vargrad_log_z",),
  "vargrad_log_z": dict(anchor_logprobs="old_logprobs"),
  "sequence_loss.log_partition": "vargrad_log_z",
}
_SHAPED = {"reward_shaping": ("unlikeliness",)}
_ADVANTAGES = {
  "advantage": "rloo_advantages",
  "sequence_loss.rewards": "advantages",
}


def test_all_parts_together_load():
  run, method, select = _load()
  assert run.replay.capacity == 16
  assert "inv_temp" in method.scalars
  assert select.name == "nearest_accuracy"


@pytest.mark.parametrize(
  "changes, without",
  [
    (_UNIFORM, ("replay",)),
    (_UNIFORM | _LIVE, ("replay",)),
    (_LIVE | _ORACLE, ("replay",)),
    (_ORACLE | _VARGRAD, ("replay", "log_partition")),
    (_ORACLE | {"log_partition.kind": "table"}, ()),
    ({"log_partition.kind": "scalar"}, ()),
    (_UNIFORM | _ADVANTAGES, ("replay",)),
    (_ADVANTAGES | {"log_partition.allow_shaped": True}, ("replay",)),
    ({"sequence_loss.rewards": "is_correct"}, ()),
    (
      _VARGRAD | _UNIFORM | {"refill.max_rounds": 3},
      ("replay", "log_partition"),
    ),
    ({"candidates.num_prompts": 64}, ()),
    (_UNIFORM | {"refill.max_rounds": 3}, ()),
  ],
)
def test_parts_can_be_left_out(changes, without):
  _load(changes, without)


@pytest.mark.parametrize(
  "changes, without, message",
  [
    (
      {},
      ("log_partition", "replay", "selection"),
      "config.log_partition is missing, but the objective names log_partition:"
      " give it a block",
    ),
    (
      _VARGRAD,
      (),
      "config.log_partition describes a head that nothing trains: name"
      " log_partition in the objective, or remove the block",
    ),
    (
      {},
      ("scalars",),
      "the objective names the field 'inv_temp', which no run fills: ",
    ),
    (
      {"sequence_loss": "tests.curriculum_checks_test:own_loss"},
      ("scalars",),
      "config.scalars.inv_temp is missing: a log-partition head needs kappa",
    ),
    (
      {"scalars.inv_temp": 0.0},
      (),
      "config.scalars.inv_temp is 0.0: it multiplies rewards",
    ),
    (
      {"scalars.inv_temp": -20.0},
      (),
      "config.scalars.inv_temp is -20.0: it multiplies rewards",
    ),
    (
      {"scalars.inv_temp": dict(start=20.0, stop=0.0, num_steps=10)},
      (),
      "config.scalars.inv_temp is 0.0: it multiplies rewards",
    ),
    (
      _LIVE,
      ("replay",),
      "config.selection.name is 'nearest_accuracy', which reads accuracy"
      " estimates, and there are none: give config.log_partition",
    ),
    (
      _VARGRAD,
      ("replay", "log_partition"),
      "config.selection.name is 'nearest_accuracy', which reads accuracy"
      " estimates, and there are none: give config.log_partition",
    ),
    (
      _LIVE | _UNIFORM,
      (),
      "config.replay.capacity is 16, but no head estimates accuracy before"
      " sampling: ",
    ),
    (
      _VARGRAD | _UNIFORM,
      ("log_partition",),
      "config.replay.capacity is 16, but no head estimates accuracy before"
      " sampling: ",
    ),
    (
      {"advantage": "rloo_advantages"},
      (),
      "rloo_advantages compares the samples of a prompt, but config.replay"
      " adds rows that come alone: set config.replay.capacity to 0",
    ),
    (
      {"sequence_loss.anchor_logprobs": "frozen_logprobs"},
      (),
      "trajectory_balance reads frozen_logprobs, which replayed rows lack: set"
      " config.replay.capacity to 0",
    ),
    (
      {"sequence_loss.anchor_logprobs": "sampler_logprobs"},
      (),
      "trajectory_balance reads sampler_logprobs, which replayed rows lack:"
      " set config.replay.capacity to 0",
    ),
    (
      _SHAPED | _NO_REPLAY,
      (),
      "trajectory_balance fits log_partition to rewards shaped by"
      " unlikeliness, which is then no accuracy to choose prompts by:"
      " give it rewards = 'is_correct', or set"
      " config.log_partition.allow_shaped = True",
    ),
    (
      _ADVANTAGES | _NO_REPLAY,
      (),
      "trajectory_balance fits log_partition to advantages, which is then no"
      " accuracy to choose prompts by: ",
    ),
    (
      {"replay.capacity": 7},
      (),
      "config.replay.capacity is 7, but insert_rows is 8: ",
    ),
    (
      {"candidates.num_prompts": 31},
      (),
      "config.candidates.num_prompts is 31, fewer than the 32 prompts of a"
      " step: raise it, or set 0 for all",
    ),
    (
      {"candidates.num_generations": 4},
      (),
      "config.candidates.num_generations is 4 and num_prompts is 0: to sample"
      " from candidates, set both to 1 or more",
    ),
    (
      {"refill.max_rounds": 2},
      (),
      "config.refill.max_rounds is 2, but nearest_accuracy would choose the"
      " same prompts again: set it to 1, or config.selection.name to uniform",
    ),
    (
      {"refill.max_rounds": 0},
      (),
      "config.refill.max_rounds is 0: set it to 1 or more",
    ),
    (
      {"updates.num_micro_batches": 16},
      (),
      "config.replay.replay_rows is 8, which minibatches, micro-batches and"
      " row shards (16 pieces) do not divide: choose a multiple of 16",
    ),
    (
      {"updates.num_minibatches": 2, "updates.num_micro_batches": 2}
      | {"mesh.data": 4},
      (),
      "config.replay.replay_rows is 8, which minibatches, micro-batches and"
      " row shards (16 pieces) do not divide: choose a multiple of 16",
    ),
    (
      {"log_partition.probe_prompts": 30, "mesh.data": 4},
      (),
      "config.log_partition.probe_prompts is 30, which the 4 row shards of the"
      " mesh",
    ),
    (
      {"candidates.num_prompts": 34, "mesh.data": 4},
      (),
      "config.candidates.num_prompts is 34, which the 4 row shards of the mesh",
    ),
    (
      {"selection.name": "nearest_acuracy"},
      (),
      "config.selection.name is 'nearest_acuracy': did you mean"
      " 'nearest_accuracy'?",
    ),
    (
      {"selection.targett": 0.5},
      (),
      "nearest_accuracy has no hyper-parameter 'targett': did you mean"
      " 'target'?",
    ),
    (
      {"log_partition.kind": "tabel"},
      (),
      "config.log_partition.kind is 'tabel': did you mean 'table'?",
    ),
    (
      {"log_partition.dropout": 0.1},
      (),
      "config.log_partition has no key 'dropout': ",
    ),
    (
      {"log_partition": dict(kind="mlp")},
      (),
      "config.log_partition.optimizer is missing: set it",
    ),
    (
      {"replay.anchor": "sampled"},
      (),
      "config.replay.anchor is 'sampled': choose recomputed or stored",
    ),
    (
      {"replay.capacty": 3},
      (),
      "config.replay has no key 'capacty': did you mean 'capacity'?",
    ),
    (
      {"candidates.num_prompt": 64},
      (),
      "config.candidates has no key 'num_prompt': did you mean 'num_prompts'?",
    ),
    (
      {"refill.rounds": 2},
      (),
      "config.refill has no key 'rounds': ",
    ),
  ],
)
def test_parts_that_do_not_fit_are_refused(changes, without, message):
  with pytest.raises(errors.UserError) as caught:
    _load(changes, without)
  assert caught.value.args[0].startswith(message)
  assert not any("\n" in problem for problem in caught.value.args)


def test_verdicts_are_verdicts():
  checks.binary("rewards", np.array([0.0, 1.0, 1.0]))
  with pytest.raises(errors.UserError) as caught:
    checks.binary("rewards", np.array([0.0, 1.0, 0.4]))
  message = str(caught.value)
  assert message.startswith(
    "rewards[2] is 0.4: a log-partition head estimates accuracy from verdicts"
    " that are 0 or 1, so give it is_correct"
  )
  assert "\n" not in message
