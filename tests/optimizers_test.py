"""Optimizers: schedules at their corners, clipping, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import optimizers


@pytest.fixture(autouse=True)
def _standard_promotion():
  """Optax mixes integers and floats inside Adam."""
  with jax.numpy_dtype_promotion("standard"):
    yield


def _config(**settings):
  return optimizers.OptimizerConfig(**({"learning_rate": 0.5} | settings))


def _rate(step, **settings):
  return float(optimizers.learning_rate_schedule(_config(**settings))(step))


def test_constant():
  assert _rate(0) == _rate(10_000) == 0.5


def test_warm_up_then_constant():
  assert _rate(0, warmup_steps=10) == 0.0
  np.testing.assert_allclose(_rate(5, warmup_steps=10), 0.25)
  assert _rate(99, warmup_steps=10) == 0.5


def test_cosine():
  cosine = dict(schedule="cosine", warmup_steps=10, decay_steps=110)
  assert _rate(0, **cosine) == 0.0
  np.testing.assert_allclose(_rate(10, **cosine), 0.5)
  # Half way down from 0.5 to a tenth of it.
  np.testing.assert_allclose(_rate(60, **cosine), 0.275, rtol=1e-5)
  np.testing.assert_allclose(_rate(110, **cosine), 0.05, rtol=1e-5)
  np.testing.assert_allclose(_rate(500, **cosine), 0.05, rtol=1e-5)


def test_the_first_adam_step_has_the_size_of_the_rate():
  optimizer = optimizers.make_optimizer(_config(clip_norm=0.0))
  params = {"x": jnp.asarray([1.0, 1.0])}
  updates, _ = optimizer.update(
    {"x": jnp.asarray([3.0, -7.0])}, optimizer.init(params), params
  )
  np.testing.assert_allclose(updates["x"], [-0.5, 0.5], rtol=1e-5)


def test_clipping_bounds_the_global_norm():
  config = _config(clip_norm=1.0, b1=0.0, b2=0.0, epsilon=1e6)
  optimizer = optimizers.make_optimizer(config)
  params = {"x": jnp.asarray([0.0, 0.0])}
  updates, _ = optimizer.update(
    {"x": jnp.asarray([3.0, 4.0])}, optimizer.init(params), params
  )
  # With a huge epsilon Adam is a plain step of rate / epsilon.
  np.testing.assert_allclose(
    updates["x"] * 1e6, [-0.5 * 0.6, -0.5 * 0.8], rtol=1e-4
  )


@pytest.mark.parametrize(
  "settings, message",
  [
    ({"schedule": "cosin"}, "schedule is 'cosin': did you mean 'cosine'"),
    ({"learning_rate": 0.0}, "learning_rate is 0.0: set it above 0"),
    ({"schedule": "cosine"}, "decay_steps is 0: a cosine schedule needs"),
  ],
)
def test_mistakes_are_refused(settings, message):
  with pytest.raises(errors.UserError, match=message):
    _config(**settings)
