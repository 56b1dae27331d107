"""Experiments that differ in numbers: found, replaced, refused."""

import jax
import pytest

from experiments import grpo
from experiments import rlrt
from rlvr_jax import errors
from rlvr_jax import experiment as experiment_lib
from rlvr_jax.laboratory import columns as columns_lib


def _experiment(module=grpo, **changes):
  config = module.get_config("tiny")
  config.update_from_flattened_dict(
    {key.replace("__", "."): x for key, x in changes.items()}
  )
  return experiment_lib.load(config.to_dict())


def test_seeds_and_what_differs_become_columns():
  columns = columns_lib.columns(
    [
      _experiment(seed=3, optimizer__learning_rate=1e-3),
      _experiment(seed=4, token_loss__clip_high=0.5),
    ]
  )
  assert columns.number == 2
  found = {name: x.tolist() for name, x in columns.values.items()}
  assert found == {
    "seed": [3, 4],
    "optimizer.learning_rate": pytest.approx([1e-3, 5e-4]),
    "token_loss.clip_high": pytest.approx([0.28, 0.5]),
  }


def test_values_take_the_places_of_settings():
  columns = columns_lib.columns([_experiment(rlrt)])
  values = {
    "seed": 7,
    "rollout.temperature": 0.5,
    "token_loss.clip_high": 0.3,
    "scalars.teacher_mix.start": 0.9,
  }
  run, method, _ = columns.at(values)
  assert (run.seed, run.rollout.temperature) == (7, 0.5)
  assert method.token_loss.settings["clip_high"] == 0.3
  assert method.scalars["teacher_mix"].start == 0.9
  # What is not named stays, and the experiment itself is as it was.
  assert run.optimizer == columns.experiment.run.optimizer
  assert columns.experiment.run.seed == 0
  assert columns.experiment.method.token_loss.settings["clip_high"] == 0.28


def test_traced_values_are_not_checked():
  columns = columns_lib.columns([_experiment()])
  rate = lambda x: columns.at({"optimizer.learning_rate": x}).run.optimizer
  jax.eval_shape(lambda x: rate(x).learning_rate * 2.0, 1.0)


@pytest.mark.parametrize(
  "others, message",
  [
    (
      dict(rollout__num_generations=4),
      "config.rollout.num_generations is 8 and 4: runs in lockstep",
    ),
    (dict(module=rlrt), "config.token_weights is"),
    (
      dict(token_loss__name="reinforce"),
      "config.token_loss.name is ppo_clip and reinforce",
    ),
  ],
)
def test_other_differences_are_refused(others, message):
  if "token_loss__name" in others:
    config = grpo.get_config("tiny").to_dict()
    config["token_loss"] = others["token_loss__name"]
    other = experiment_lib.load(config)
  else:
    other = _experiment(**others)
  with pytest.raises(errors.UserError, match=message):
    columns_lib.columns([_experiment(), other])
