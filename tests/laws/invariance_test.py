"""Laws of every experiment: an update does not see how a batch is laid out.

Loss and gradient of each experiment file's objective stay the same under
micro-batch splits, padding, row and prompt order, and the number of devices.
A new file in experiments/ is tested without writing a line.
"""

import functools
import importlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlvr_jax import experiment as experiment_lib
from rlvr_jax import objective as objective_lib
from rlvr_jax import records
from rlvr_jax import sharding
from rlvr_jax import update
from tests import testing

_FILES = sorted(
  path.stem
  for path in pathlib.Path("experiments").glob("*.py")
  if path.stem not in ("__init__", "common")
)
_TOLERANCE = dict(rtol=1e-5, atol=1e-6)


def method_of(name: str) -> objective_lib.Objective:
  module = importlib.import_module(f"experiments.{name}")
  return experiment_lib.load(module.get_config("tiny").to_dict()).method


@functools.cache
def _batch() -> records.RolloutBatch:
  return testing.rollout_batch(num_prompts=8, samples=4)


def _raw_gradient() -> optax.GradientTransformation:
  """Updates that are minus the gradient: parameters move by it, exactly."""
  return optax.sgd(1.0)


def _step(method, batch, mesh=None, **config):
  """Metrics and gradient of one update on a batch."""
  model, params = testing.tiny_model()
  optimizer = _raw_gradient()
  state = testing.train_state(params, optimizer)
  step = functools.partial(
    update.train_step,
    model=model,
    method=method,
    optimizer=optimizer,
    config=update.UpdateConfig(**config),
  )
  if mesh is None:
    after, metrics = jax.jit(step)(state, batch)
  else:
    rows, whole = sharding.row_sharding(mesh), sharding.replicated(mesh)
    compiled = jax.jit(
      step, in_shardings=(whole, rows), out_shardings=(whole, whole)
    )
    after, metrics = compiled(
      jax.device_put(state, whole), jax.device_put(batch, rows)
    )
  gradient = jax.tree.map(lambda a, b: np.asarray(a - b), params, after.params)
  return jax.device_get(metrics), gradient


@functools.cache
def _reference(name):
  return _step(method_of(name), _batch())


def _assert_same(name, metrics, gradient):
  expected_metrics, expected = _reference(name)
  for key, value in expected_metrics.items():
    np.testing.assert_allclose(metrics[key], value, err_msg=key, **_TOLERANCE)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, **_TOLERANCE),
    gradient,
    expected,
  )


@pytest.mark.parametrize("name", _FILES)
def test_the_reference_has_a_gradient(name):
  gradient = _reference(name)[1]
  assert max(np.abs(x).max() for x in jax.tree.leaves(gradient)) > 1e-3


@pytest.mark.parametrize("name", _FILES)
@pytest.mark.parametrize("parts", [2, 4, 16, 32])
def test_micro_batches(name, parts):
  # 16 and 32 parts share the four rows of a prompt out, down to single rows.
  _assert_same(name, *_step(method_of(name), _batch(), num_micro_batches=parts))


@pytest.mark.parametrize("name", _FILES)
@pytest.mark.parametrize("left, right", [(3, 0), (0, 5), (2, 2)])
def test_padding(name, left, right):
  batch = _batch()
  widen = lambda x: jnp.pad(x, ((0, 0), (0, right)))
  length = batch.completion_tokens.shape[1]
  wider = {
    field: widen(value)
    for field, value in vars(batch).items()
    if field != "prompts" and value is not None and value.ndim == 2
  }
  assert all(x.shape[1] == length + right for x in wider.values())
  prompts = batch.prompts.replace(
    prompt_tokens=jnp.pad(batch.prompts.prompt_tokens, ((0, 0), (left, 0))),
    prompt_mask=jnp.pad(batch.prompts.prompt_mask, ((0, 0), (left, 0))),
  )
  _assert_same(
    name, *_step(method_of(name), batch.replace(prompts=prompts, **wider))
  )


@pytest.mark.parametrize("name", _FILES)
def test_junk_in_padded_cells(name):
  batch = _batch()
  outside = batch.completion_mask == 0
  junk = {
    field: jnp.where(outside, jnp.nan, getattr(batch, field))
    for field in (
      "sampler_logprobs",
      "log_kept_mass",
      "frozen_entropies",
      "frozen_mean_logprobs",
    )
  }
  tokens = jnp.where(outside, 7, batch.completion_tokens)
  _assert_same(
    name,
    *_step(method_of(name), batch.replace(completion_tokens=tokens, **junk)),
  )


def _permuted(batch, prompt_order, sample_order):
  num_prompts, samples = len(prompt_order), len(sample_order)
  rows = (prompt_order[:, None] * samples + sample_order[None]).reshape(-1)
  moved = {
    field: value[rows]
    for field, value in vars(batch).items()
    if field != "prompts" and value is not None
  }
  # Group numbers are positions in the batch: number them anew.
  moved["group_ids"] = jnp.repeat(
    jnp.arange(num_prompts, dtype=jnp.int32), samples
  )
  prompts = jax.tree.map(lambda x: x[prompt_order], batch.prompts)
  return batch.replace(prompts=prompts, **moved)


@pytest.mark.parametrize("name", _FILES)
def test_row_and_prompt_order(name):
  rng = np.random.default_rng(0)
  batch = _permuted(_batch(), rng.permutation(8), rng.permutation(4))
  _assert_same(name, *_step(method_of(name), batch))


@pytest.mark.parametrize("name", _FILES)
@pytest.mark.parametrize(
  "shape", [(1, 1, 1), (2, 1, 1), (4, 1, 1), (8, 1, 1), (2, 2, 2), (1, 4, 2)]
)
def test_devices(name, shape):
  mesh = sharding.make_mesh(sharding.MeshConfig(*shape))
  _assert_same(name, *_step(method_of(name), _batch(), mesh))


@pytest.mark.parametrize("name", _FILES)
def test_micro_batches_on_devices(name):
  mesh = sharding.make_mesh(sharding.MeshConfig(data=4))
  _assert_same(
    name, *_step(method_of(name), _batch(), mesh, num_micro_batches=2)
  )
