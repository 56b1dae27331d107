"""Gradients over devices: the same numbers, added up once."""

import functools

import jax
import numpy as np
import optax
import pytest

from rlvr_jax import advantages
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import sharding
from rlvr_jax import update
from rlvr_jax.sizing import costs
from tests import testing

_METHOD = objective_lib.Objective(
  advantage=objective_lib.bound(advantages.grpo_advantages),
  token_loss=objective_lib.bound(losses.ppo_clip),
)
_VOCAB = 12


def _mesh(shape):
  axes = dict(zip(sharding.AXES, shape, strict=True))
  return sharding.make_mesh(sharding.MeshConfig(**axes))


def _gradient(shape=None, **config):
  """(state, rollouts) -> (gradient, metrics) on a mesh, and a state."""
  model, params = testing.tiny_model(vocab_size=_VOCAB, num_layers=1)
  if shape:
    model = model.clone(partition=sharding.partition(_mesh(shape)))
  gradient = functools.partial(
    update.gradient,
    model=model,
    method=_METHOD,
    config=update.UpdateConfig(**config),
  )
  return gradient, testing.train_state(params, optax.sgd(0.1))


def _spread(gradient, shape):
  """Compiled for rollouts that lie on the devices of a mesh."""
  mesh = _mesh(shape)
  rows, whole = sharding.row_sharding(mesh), sharding.replicated(mesh)
  return jax.jit(gradient, in_shardings=(whole, rows))


def _batch(num_prompts):
  return testing.rollout_batch(num_prompts, samples=4, vocab_size=_VOCAB)


def _assert_same(found, expected):
  close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
  jax.tree.map(close, found, expected)
  assert optax.tree.norm(found[0]) > 0.01


_SHAPES = [((2, 1, 1), 1)] + [
  pytest.param(shape, buckets, marks=pytest.mark.slow)
  for shape, buckets in [
    ((2, 1, 1), 2),
    ((8, 1, 1), 1),
    ((2, 2, 1), 1),
    ((2, 1, 2), 1),
    ((2, 2, 2), 2),
  ]
]


@pytest.mark.parametrize(("shape", "length_buckets"), _SHAPES)
def test_copies_of_the_parameters_give_the_gradient_of_one(
  shape, length_buckets
):
  batch = _batch(8)
  whole, state = _gradient()
  apart, _ = _gradient(
    shape, num_micro_batches=2, length_buckets=length_buckets
  )
  found = _spread(apart, shape)(state, batch)
  _assert_same(found, jax.jit(whole)(state, batch))


def test_what_copies_do_not_share_evenly_is_left_to_the_compiler():
  batch = _batch(3)
  whole, state = _gradient()
  apart, _ = _gradient((2, 1, 1), num_micro_batches=2)
  _assert_same(jax.jit(apart)(state, batch), jax.jit(whole)(state, batch))


@pytest.mark.parametrize("num_micro_batches", [1, 4])
def test_gradients_cross_devices_once_however_many_passes(num_micro_batches):
  shape = (2, 1, 1)
  apart, state = _gradient(shape, num_micro_batches=num_micro_batches)
  text = _spread(apart, shape).lower(state, _batch(8)).compile().as_text()
  received = sum(costs.counted(text).transfer_bytes.values())
  # Over two devices each receives the gradient once, in float32, and sums of
  # a few numbers a row.
  size = 4 * sum(x.size for x in jax.tree.leaves(state.params))
  assert size <= received < 1.5 * size
