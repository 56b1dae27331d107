"""What every public method function promises, checked in one loop."""

import inspect
import re

import chex
import jax
import jax.numpy as jnp
import pytest

from rlvr_jax import advantages
from rlvr_jax import losses
from rlvr_jax import token_weights

_ROOMS = (advantages, losses, token_weights)
_METHODS = [
  getattr(room, name)
  for room in _ROOMS
  for name in room.__all__
  if inspect.isfunction(getattr(room, name))
]
_ROWS, _TOKENS = 6, 5


def _fields():
  shape = (_ROWS, _TOKENS)
  noise = -jax.random.uniform(jax.random.key(0), shape)
  return {
    "rewards": jnp.asarray([0.0, 1.0] * (_ROWS // 2)),
    "group_ids": jnp.arange(_ROWS, dtype=jnp.int32) // 2,
    "valid": jnp.ones(_ROWS),
    "logprobs": noise,
    "old_logprobs": noise - 0.1,
    "token_advantages": jnp.ones(shape),
    "token_losses": noise,
    "loss_mask": jnp.ones(shape),
    "completion_mask": jnp.ones(shape),
  }


def _required(method):
  parameters = inspect.signature(method).parameters.values()
  return [p.name for p in parameters if p.default is p.empty]


@pytest.fixture(params=_METHODS, ids=lambda method: method.__name__)
def method(request):
  return request.param


def test_arguments_are_keyword_only_and_typed(method):
  for parameter in inspect.signature(method).parameters.values():
    assert parameter.kind is parameter.KEYWORD_ONLY, parameter
    assert parameter.annotation is not parameter.empty, parameter


def test_the_docstring_lists_the_arguments_in_order(method):
  parts = inspect.getdoc(method).split("Args:\n")
  assert len(parts) == 2
  listed = re.findall(r"^  (\w+): ", parts[1].split("Returns:")[0], re.M)
  assert listed == list(inspect.signature(method).parameters)


def test_the_docstring_names_source_neutral_setting_and_deviations(method):
  text = inspect.getdoc(method)
  assert "https://" in text or "[inferred]" in text
  assert "Neutral setting: " in text
  assert "Differs from the paper: " in text
  assert "Returns:\n" in text


def test_it_compiles_once_and_returns_float32(method):
  fields = {name: _fields()[name] for name in _required(method)}
  chex.clear_trace_counter()
  run = jax.jit(chex.assert_max_traces(lambda kwargs: method(**kwargs), n=1))
  run(fields)
  out = run(fields)
  for leaf in jax.tree.leaves(out):
    assert leaf.dtype == jnp.float32
    assert leaf.shape in ((), (_ROWS,), (_ROWS, _TOKENS))


def test_every_public_name_is_a_method_or_a_record():
  for room in _ROOMS:
    for name in room.__all__:
      value = getattr(room, name)
      assert inspect.isfunction(value) or inspect.isclass(value)
