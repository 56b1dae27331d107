"""One step is the same on every mesh of up to eight devices."""

import functools
import itertools
import pathlib

import jax
import numpy as np
import pytest

from experiments import grpo
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import gather
from rlvr_jax import programs as programs_lib
from rlvr_jax import sharding
from rlvr_jax.data import tasks

# Every axis divides by eight.
_MODEL = dict(
  num_layers=2,
  width=32,
  num_heads=8,
  num_kv_heads=8,
  head_dim=4,
  mlp_width=48,
  vocab_size=32,
  scan_layers=True,
)
# Sums over rows, heads and layers are added up in another order: float32
# rounds them alike to this share of the largest entry.
_TOLERANCE = 1e-5


_SHAPES = [
  shape
  for shape in itertools.product((1, 2, 4, 8), repeat=3)
  if 1 < np.prod(shape) <= 8
]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return tmp_path_factory.mktemp("data")


@functools.cache
def _step(
  data_dir: pathlib.Path,
  shape: tuple[int, int, int],
  slots: int = 0,
  num_micro_batches: int = 1,
):
  """Rollouts, tokens, metrics and the optimizer's state after a first step."""
  config = grpo.get_config("tiny")
  config.model.update(_MODEL)
  config.prompts_per_step = 8
  config.rollout.update(num_generations=4, completion_tokens=12, slots=slots)
  config.updates.num_micro_batches = num_micro_batches
  # Any text will do: what counts is that there is a gradient.
  config.reward_shaping = ("overlong_penalty",)
  config.overlong_penalty = dict(max_tokens=12, buffer_tokens=10)
  config.mesh.update(dict(zip(sharding.AXES, shape, strict=True)))
  experiment = experiment_lib.load(config.to_dict())
  run = experiment.run
  task = tasks.load_task(run.data, 40, data_dir)
  programs = programs_lib.make_programs(
    experiment, task, sharding.make_mesh(run.mesh)
  )
  # Optax mixes integers and floats inside Adam.
  with jax.numpy_dtype_promotion("standard"):
    state = programs.train.fresh()
    state, rollouts, replayed, sampled = gather.gather(
      run, programs, state, programs.task.train.prompts
    )
    looked = programs.look(state, rollouts)
    state, updated = programs.train_step(state, rollouts, replayed)
  return jax.device_get(
    (rollouts, looked, sampled | updated, jax.tree.leaves(state.opt_state))
  )


@pytest.mark.slow  # 19 meshes, some 20 s of compiling each
@pytest.mark.parametrize("shape", _SHAPES)
def test_a_step_is_the_same_on_every_mesh(data_dir, shape):
  _assert_same(_step(data_dir, shape), _step(data_dir, (1, 1, 1)))


@pytest.mark.slow  # some 20 s of compiling each
@pytest.mark.parametrize("shape", [(2, 2, 2), (1, 8, 1), (4, 1, 2)])
def test_cut_up_on_a_mesh_a_step_is_the_same(data_dir, shape):
  # A part has one sample of each prompt, and a device more rows than slots.
  ours = _step(data_dir, shape, slots=16, num_micro_batches=4)
  _assert_same(ours, _step(data_dir, (1, 1, 1)))


def _assert_same(ours, theirs):
  rollouts, looked, metrics, moments = ours
  wanted, wanted_looked, wanted_metrics, wanted_moments = theirs
  np.testing.assert_array_equal(
    rollouts.completion_tokens, wanted.completion_tokens
  )
  np.testing.assert_allclose(
    rollouts.sampler_logprobs, wanted.sampler_logprobs, atol=_TOLERANCE
  )
  assert looked.keys() == wanted_looked.keys() >= {"weights"}
  for name, values in looked.items():
    np.testing.assert_allclose(
      values, wanted_looked[name], atol=_TOLERANCE, err_msg=name
    )
  assert metrics["policy/grad_norm"] > 1e-3
  # Itself a rounding error; and what depends on the slots.
  apart = {"policy/sampler_gap", "rollout/idle_frac"}
  for name in metrics.keys() - apart:
    np.testing.assert_allclose(
      metrics[name], wanted_metrics[name], rtol=1e-4, atol=1e-6, err_msg=name
    )
  # Adam's moments hold the gradient, leaf by leaf.
  for ours, theirs in zip(moments, wanted_moments, strict=True):
    largest = max(np.abs(theirs).max(initial=0.0), 1e-12)
    np.testing.assert_allclose(ours, theirs, atol=_TOLERANCE * largest)
