"""Gradients of losses against finite differences of their references."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.reference import comparison
from tests.reference.settings import SETTINGS

_TOKEN_LOSSES = (
  "ppo_clip",
  "gspo",
  "cispo",
  "clip_cov",
  "kl_cov",
  "negative_log_likelihood",
  "reinforce",
  "kl_k1",
  "kl_k2",
  "kl_k3",
)
# Losses per response, whose log-partition is live as well.
_RESPONSE_LOSSES = ("seq_logratio", "tb_residual", "trajectory_balance")
# Token losses in which log-probabilities of candidates are live as well.
_DISTILLATION_LOSSES = ("sdpo", "sdpo_token", "opsd", "sdft", "srpo")


def _differences(function, point, step=1e-6):
  """Central differences of a scalar function, cell by cell."""
  gradient = np.zeros_like(point)
  for cell in np.ndindex(*point.shape):
    moved = []
    for sign in (1, -1):
      there = point.copy()
      there[cell] += sign * step
      moved.append(function(there))
    gradient[cell] = (moved[0] - moved[1]) / (2 * step)
  return gradient


def _jax_gradient(name, settings, fields, upstream, live):
  part = comparison.part(name, settings)
  with jax.enable_x64(True):
    picked = {field: jnp.asarray(fields[field]) for field in part.field_names}
    weights = jnp.asarray(upstream)
    values = lambda x: jax.tree.leaves(part(picked | {live: x}))[0]
    value = lambda x: jnp.sum(values(x) * weights)
    return np.asarray(jax.jit(jax.grad(value))(picked[live]))


def _assert_gradient(
  name,
  settings,
  fields,
  upstream,
  live="logprobs",
  *,
  kind="_surrogate",
  atol=1e-6,
):
  """That of the loss itself, where it has no reference of that kind."""
  plain = comparison.reference(name)
  reference = comparison.reference(name, kind) or plain
  names = inspect.signature(plain).parameters
  picked = {k: fields[k] for k in names if k in fields}
  if reference is not plain:
    # What is frozen is differentiated around.
    picked["frozen_logprobs"] = fields["logprobs"]
  values = lambda x: reference(**(picked | {live: x}), **settings)
  value = lambda x: np.sum(jax.tree.leaves(values(x))[0] * upstream)
  np.testing.assert_allclose(
    _jax_gradient(name, settings, fields, upstream, live),
    _differences(value, fields[live]),
    rtol=1e-6,
    atol=atol,
  )


def _fields(seed=0):
  return comparison.rounded(comparison.random_fields(seed), "float64")


def _upstream(fields, seed=0):
  """A weight for the loss of every token."""
  mask = fields["completion_mask"]
  return np.random.default_rng(seed).normal(size=mask.shape) * mask


@pytest.mark.parametrize(
  "name, settings", comparison.each_setting(_TOKEN_LOSSES)
)
def test_gradients_agree_with_differences_of_the_reference(name, settings):
  for seed in comparison.SEEDS[:2]:
    fields = _fields(seed)
    _assert_gradient(name, settings, fields, _upstream(fields, seed))


@pytest.mark.parametrize(
  "name, settings", comparison.each_setting(_RESPONSE_LOSSES)
)
def test_gradients_of_responses_agree_with_differences(name, settings):
  fields = _fields()
  upstream = np.random.default_rng(0).normal(size=comparison.ROWS)
  names = comparison.part(name, settings).field_names
  for live in {"logprobs", "log_partition"}.intersection(names):
    _assert_gradient(name, settings, fields, upstream, live, atol=1e-5)


@pytest.mark.parametrize(
  "name, settings", comparison.each_setting(_DISTILLATION_LOSSES)
)
def test_gradients_of_distillation_agree_with_differences(name, settings):
  fields = _fields()
  names = comparison.part(name, settings).field_names
  for live in {"logprobs", "support_logprobs"}.intersection(names):
    _assert_gradient(name, settings, fields, _upstream(fields), live)


@pytest.mark.parametrize("settings", [{}, *SETTINGS["gspo"]])
def test_gspo_has_the_gradient_of_its_sequence_form(settings):
  # With one advantage and one weight a row, as `sequence_mean` gives, the
  # token form has the gradient of exp(mean log-ratio) itself.
  fields = dict(_fields())
  shape = fields["completion_mask"].shape
  rng = np.random.default_rng(1)
  by_row = lambda: np.tile(rng.normal(size=(shape[0], 1)), shape[1])
  fields["token_advantages"] = by_row()
  upstream = by_row() * fields["completion_mask"]
  _assert_gradient("gspo", settings, fields, upstream, kind="")


def test_the_entropy_bonus_has_the_gradient_of_minus_the_entropy():
  fields = _fields()
  upstream = np.random.default_rng(0).normal(size=fields["entropies"].shape)
  _assert_gradient("entropy_bonus", {}, fields, upstream, "entropies")
