"""The compiled programs: work is shared out, state is reused in place."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import pytest

from experiments import grpo
from experiments import paced_rl
from rlvr_jax import errors
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import programs as programs_lib
from rlvr_jax import sharding
from rlvr_jax.data import tasks


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return tmp_path_factory.mktemp("data")


@functools.cache
def _programs(data_dir: pathlib.Path, devices: int):
  experiment = experiment_lib.load(paced_rl.get_config("tiny").to_dict())
  run = dataclasses.replace(
    experiment.run,
    mesh=sharding.MeshConfig(data=devices),
    sampling_threads=1,
    # A loop over passes takes its time to compile.
    updates=dataclasses.replace(experiment.run.updates, num_micro_batches=1),
  )
  task = tasks.load_task(run.data, run.rollout.completion_tokens, data_dir)
  return programs_lib.make_programs(
    experiment._replace(run=run),
    task,
    sharding.make_mesh(run.mesh),
  )


def _compiled(programs, name):
  """One of the four heavy programs, compiled on abstract arguments."""
  state, task = programs.train.abstract, programs.task
  split = task.train.prompts.replace(embeddings=programs.embeddings)
  number = jax.ShapeDtypeStruct((), jnp.int32)
  plan, _, _ = jax.eval_shape(programs.plan, state, split, None, number)
  prompts = plan.prompts
  rollouts, _ = jax.eval_shape(
    programs.collect, state.params, state.seed, state.step, prompts
  )
  demonstrations = jax.eval_shape(
    programs.demonstrations, task.train, state.seed, state.step
  )
  # Optax mixes integers and floats inside Adam.
  with jax.numpy_dtype_promotion("standard"):
    lowered = {
      "collect": lambda: programs.collect.lower(
        state.params, state.seed, state.step, prompts
      ),
      "decode": lambda: programs.decode.lower(state.params, prompts),
      "train_step": lambda: programs.train_step.lower(
        state, rollouts, plan.replayed
      ),
      "imitate": lambda: programs.imitate.lower(
        programs.warm_start.abstract, demonstrations, None
      ),
    }[name]()
    return lowered.compile()


@pytest.mark.parametrize(
  "name",
  [
    pytest.param("train_step", marks=pytest.mark.slow),
    pytest.param("decode", marks=pytest.mark.slow),
    pytest.param("collect", marks=pytest.mark.slow),
    pytest.param("imitate", marks=pytest.mark.slow),
  ],
)
def test_eight_devices_share_the_work(data_dir, name):
  flops = lambda devices: _compiled(
    _programs(data_dir, devices), name
  ).cost_analysis()["flops"]
  # An eighth each, and what little is the same for all.
  assert flops(8) < flops(1) / 6


@pytest.mark.parametrize("name", ["train_step", "imitate"])
def test_updates_reuse_the_memory_of_the_state(data_dir, name):
  programs = _programs(data_dir, 1)
  memory = _compiled(programs, name).memory_analysis()
  state = sum(
    leaf.size * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(
      programs.train.abstract
      if name == "train_step"
      else programs.warm_start.abstract
    )
  )
  # All but a scalar that is replaced unread.
  assert memory.alias_size_in_bytes >= state - 4


def test_a_vocabulary_larger_than_the_models_is_refused(tmp_path):
  config = grpo.get_config("tiny")
  config.data.update(name="math_path", variant="half", prompt_tokens=40)
  experiment = experiment_lib.load(config.to_dict())
  task = tasks.load_task(experiment.run.data, 40, tmp_path)
  mesh = sharding.make_mesh(experiment.run.mesh)
  with pytest.raises(errors.UserError, match="is written with 43 tokens"):
    programs_lib.make_programs(experiment, task, mesh)
