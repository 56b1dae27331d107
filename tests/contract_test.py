"""What every public method function promises, checked in one loop."""

import doctest
import functools
import inspect
import io
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import credit
from rlvr_jax import derived
from rlvr_jax import hooks
from rlvr_jax import losses
from rlvr_jax import names
from rlvr_jax import objective as objective_lib
from rlvr_jax import schedules
from rlvr_jax import token_weights
from rlvr_jax.rewards import shaping
from tests import batches

_PACKAGES = (advantages, losses, token_weights, derived)
_METHODS = [
  function
  for room in (*_PACKAGES, shaping)
  for function in names.public_functions(room).values()
  if inspect.isfunction(function)
]
_IN_HOOKS = [
  (hook, function)
  for hook, modules in hooks.ROOMS.items()
  for module in modules
  for function in names.public_functions(module).values()
]
_DERIVED = names.public_functions(derived)
# The field that a keyword takes where no field has the keyword's name.
_ALIASES = {
  "anchor_logprobs": "ref_logprobs",
  "student_logprobs": "old_logprobs",
}
_SCALARS = {"inv_temp": 2.0, "teacher_mix": 0.5, "teacher_clip": 1.0}
_each_in_its_hook = pytest.mark.parametrize(
  "hook, function", _IN_HOOKS, ids=lambda x: getattr(x, "__name__", x)
)
_bound = objective_lib.bound


@pytest.fixture(params=_METHODS, ids=lambda method: method.__name__)
def method(request):
  return request.param


def _required(method):
  parameters = inspect.signature(method).parameters.values()
  return [p.name for p in parameters if p.default is p.empty]


def _aliases(method):
  return {k: v for k, v in _ALIASES.items() if k in _required(method)}


def _arguments(method):
  fields = batches.credited_fields()
  return {name: fields[name] for name in _required(method)}


# ---------------------------------------------------- signature and docstring


def test_arguments_are_keyword_only_and_typed(method):
  signature = inspect.signature(method)
  for parameter in signature.parameters.values():
    assert parameter.kind is parameter.KEYWORD_ONLY, parameter
    assert parameter.annotation is not parameter.empty, parameter
  assert signature.return_annotation is not signature.empty


def test_the_docstring_lists_the_arguments_in_order(method):
  parts = inspect.getdoc(method).split("Args:\n")
  assert len(parts) == 2
  listed = re.findall(r"^  (\w+): ", parts[1].split("Returns:")[0], re.M)
  assert listed == list(inspect.signature(method).parameters)


def test_the_docstring_names_source_neutral_setting_and_deviations(method):
  text = inspect.getdoc(method)
  assert "https://" in text or "[inferred]" in text
  parts = (
    "Neutral setting: ", "Differs from the paper: ", "Example:", "Args:\n",
    "Returns:\n", "Raises:\n",
  )  # fmt: skip
  places = [text.find(part) for part in parts]
  assert -1 not in places, parts
  assert places == sorted(places)


def test_its_module_introduces_it(method):
  assert method.__name__ in inspect.getmodule(method).__doc__


def test_its_example_runs(method):
  # The library in the example, not this module: a reader pastes it.
  finder = doctest.DocTestFinder(recurse=False)
  (example,) = finder.find(method, globs={})
  assert example.examples
  runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
  report = io.StringIO()
  result = runner.run(example, out=report.write)
  assert result.failed == 0, report.getvalue()
  # It calls the function that it is the example of.
  assert any(f"{method.__name__}(" in e.source for e in example.examples)


# ------------------------------------------------------------ types and jit


def test_it_compiles_once_and_returns_float32(method):
  arguments = _arguments(method)
  rows, tokens = batches.credited_fields()["completion_mask"].shape
  chex.clear_trace_counter()
  run = jax.jit(chex.assert_max_traces(lambda kwargs: method(**kwargs), n=1))
  run(arguments)
  out = jax.tree.leaves(run(arguments))
  for leaf in out:
    assert leaf.dtype == (
      jnp.int32 if method.__name__.endswith("_ids") else jnp.float32
    )
    assert leaf.shape in ((), (rows,), (rows, tokens))
  # Compiled and eager say the same.
  for leaf, eager in zip(
    out, jax.tree.leaves(method(**arguments)), strict=True
  ):
    np.testing.assert_allclose(leaf, eager, rtol=1e-5, atol=1e-6)


def test_float64_stays_float64(method):
  arguments = _arguments(method)
  with jax.enable_x64(True):
    wide = {
      name: jnp.asarray(np.asarray(x), jnp.float64)
      if x.dtype == jnp.float32
      else x
      for name, x in arguments.items()
    }
    for call in (method, jax.jit(method)):
      for leaf in map(jnp.asarray, jax.tree.leaves(call(**wide))):
        assert leaf.dtype == (
          jnp.int32 if method.__name__.endswith("_ids") else jnp.float64
        )


# -------------------------------------------------------------------- hooks


@_each_in_its_hook
def test_it_is_reached_by_its_name(hook, function):
  name, aliases = function.__name__, _aliases(function)
  config = {"derived": tuple(_DERIVED), "scalars": _SCALARS}
  config |= {name: _aliases(f) for name, f in _DERIVED.items()}
  if hook != "sequence_loss":
    config["token_loss"] = "reinforce"
  if hook in hooks.SINGLE:
    config[hook] = {"name": name} | aliases
  else:
    # The derived fields stay, each once.
    config[hook] = tuple({**dict.fromkeys(config.get(hook, ())), name: None})
    config[name] = aliases
  found = objective_lib.functions(objective_lib.bind(config))[hook]
  assert function in [part.function for part in found]


def test_what_a_package_exports_is_what_its_hooks_offer():
  offered = {function for _, function in _IN_HOOKS}
  for package in _PACKAGES:
    of_package = {
      function
      for function in offered
      if function.__module__.startswith(f"{package.__name__}.")
    }
    assert of_package
    assert of_package == {f for f in _METHODS if f in vars(package).values()}
  assert offered == set(_METHODS)


def test_every_public_name_is_a_method_or_a_record():
  for room in _PACKAGES:
    assert room.__all__ == sorted(room.__all__)
    for name in room.__all__:
      value = getattr(room, name)
      assert inspect.isfunction(value) or inspect.isclass(value)


def test_a_name_means_one_function_within_a_hook():
  for modules in hooks.ROOMS.values():
    found = [name for m in modules for name in names.public_functions(m)]
    assert len(found) == len(set(found))


# ------------------------------------------------- through credit and loss

# Settings under which all others matter on a batch of six tokens a row.
_SETTINGS = {
  "segment_ids": dict(separator_ids=(4, 5)),
  "planning_tokens": dict(phrases=((4,), (5, 6))),
  "overlong_penalty": dict(max_tokens=6, buffer_tokens=4),
  "clip_cov_tokens": dict(select_frac=1.0, cov_low=-0.3, cov_high=0.3),
  "kl_cov_tokens": dict(select_frac=0.2),
  "trajectory_balance": dict(w_mode="sequence"),
  "reversed_teacher": dict(mode="sign"),
  # The mean entropy of the batch lies between off and on.
  "antisd": dict(warm_entropy=1.0, off_frac=0.7),
}
# Who reads a derived field; any number per row can be a log-partition.
_BALANCE = functools.partial(
  _bound,
  losses.trajectory_balance,
  **_aliases(losses.trajectory_balance),
  **_SETTINGS["trajectory_balance"],
)
_READERS = {
  "segment_ids": dict(token_weights=(_bound(token_weights.empg_weights),)),
  "planning_tokens": dict(token_weights=(_bound(token_weights.hicra_weights),)),
  "clip_cov_tokens": dict(token_loss=_bound(losses.clip_cov)),
  "kl_cov_tokens": dict(token_loss=_bound(losses.kl_cov)),
  "d_hat": dict(token_weights=(_bound(token_weights.reversed_teacher),)),
  "srpo_weights": dict(token_loss=_bound(losses.srpo)),
  "zero_anchor": dict(
    token_loss=None, sequence_loss=_BALANCE(anchor_logprobs="zero_anchor")
  ),
}
# A tuple is what a loss says of itself, and no field; see `credit`.
_COMPUTED = [
  (hook, function)
  for hook, function in _IN_HOOKS
  if (hook, function) != ("derived", losses.trajectory_balance)
]
_each_computed = pytest.mark.parametrize(
  "hook, function", _COMPUTED, ids=lambda x: getattr(x, "__name__", x)
)


def _objective(hook, function):
  """GRPO with the function in its hook, and the derived fields it reads."""
  part = lambda f: _bound(f, **_SETTINGS.get(f.__name__, {}), **_aliases(f))
  own = part(function)
  method = objective_lib.Objective(
    advantage=_bound(advantages.grpo_advantages),
    token_loss=_bound(losses.ppo_clip) if hook != "sequence_loss" else None,
    scalars={k: schedules.Schedule(v) for k, v in _SCALARS.items()},
  )._replace(**{hook: own if hook in hooks.SINGLE else (own,)})
  if hook == "sequence_loss":
    # Some of them are frozen and have no gradient of their own.
    method = method._replace(regularizers=(_bound(losses.kl_k3),))
  if hook == "derived":
    balance = dict(
      token_loss=None, sequence_loss=_BALANCE(log_partition=function.__name__)
    )
    method = method._replace(**_READERS.get(function.__name__, balance))
  wanted = objective_lib.needed_fields(method) & set(_DERIVED)
  missing = tuple(part(_DERIVED[name]) for name in sorted(wanted))
  return method._replace(derived=(*method.derived, *missing))


@functools.cache
def _compiled(hook, function):
  method = _objective(hook, function)

  def loss(live, fields):
    value, terms = credit.whole_loss(method, fields | live)
    return value, {name: mean.count for name, mean in terms.items()}

  return jax.jit(jax.value_and_grad(loss, has_aux=True))


def _run(hook, function, fields):
  """Loss, counts and gradients in what is learned."""
  names = ("logprobs", "entropies", "support_logprobs", "log_partition")
  live = {name: fields[name] for name in names}
  return _compiled(hook, function)(live, fields)


def _spoilt(fields, cells):
  """NaN in all float fields, tokens of phrases in the others."""
  junk = lambda x: jnp.nan if jnp.issubdtype(x.dtype, jnp.floating) else 4
  wide = lambda x: cells.reshape(*cells.shape, *(1,) * (x.ndim - 2))
  return fields | {
    name: jnp.where(wide(x), junk(x), x).astype(x.dtype)
    for name, x in fields.items()
    if x.shape[:2] == cells.shape and name != "completion_mask"
  }


@_each_computed
def test_padding_is_inert(hook, function):
  fields = batches.fields()
  clean = _run(hook, function, fields)
  dirty = _run(hook, function, _spoilt(fields, fields["completion_mask"] == 0))
  jax.tree.map(np.testing.assert_array_equal, clean, dirty)
  # There is something that a NaN could have spoilt.
  policy = ("logprobs", "support_logprobs")
  assert max(jnp.max(jnp.abs(clean[1][name])) for name in policy) > 1e-3


@_each_computed
def test_a_batch_without_tokens_has_no_loss_gradient_or_count(hook, function):
  fields = batches.fields()
  empty = fields | {
    "completion_mask": jnp.zeros_like(fields["completion_mask"])
  }
  for found in jax.tree.leaves(_run(hook, function, empty)):
    np.testing.assert_array_equal(found, jnp.zeros_like(found))


@_each_computed
def test_a_fully_masked_row_is_silent(hook, function):
  fields = batches.fields()
  cells = jnp.zeros(fields["completion_mask"].shape, bool).at[4].set(True)
  fields = _spoilt(fields, cells)
  fields |= {"completion_mask": fields["completion_mask"].at[4].set(0.0)}
  (loss, _), gradients = _run(hook, function, fields)
  assert jnp.isfinite(loss)
  for gradient in gradients.values():
    assert jnp.all(jnp.isfinite(gradient))
    assert not jnp.any(gradient[4])


@_each_computed
def test_a_row_that_was_not_judged_might_as_well_be_missing(hook, function):
  fields = batches.fields()
  cells = jnp.zeros(fields["completion_mask"].shape, bool).at[4].set(True)
  unjudged = _spoilt(fields, cells) | {
    name: fields[name].at[4].set(value)
    for name, value in (("valid", 0.0), ("rewards", jnp.nan))
  }
  without = {
    name: jnp.delete(x, 4, axis=0) if x.ndim else x
    for name, x in fields.items()
  }
  (loss, counts), gradients = _run(hook, function, unjudged)
  (expected, expected_counts), expected_gradients = _run(
    hook, function, without
  )
  np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-7)
  assert counts == expected_counts
  for name, gradient in gradients.items():
    assert not jnp.any(gradient[4])
    np.testing.assert_allclose(
      jnp.delete(gradient, 4, axis=0),
      expected_gradients[name],
      rtol=1e-5,
      atol=1e-7,
    )


# ---------------------------------------------------------- hyper-parameters

# Another value of every hyper-parameter.
_OTHER = {
  "grpo_advantages": dict(normalize_std=False, epsilon=0.5, ddof=0),
  "reinforce_pp_advantages": dict(epsilon=0.5),
  "reinforce_pp_baseline_advantages": dict(epsilon=0.5),
  "signed_advantages": dict(positive_weight=0.5, negative_weight=0.5),
  "overlong_penalty": dict(max_tokens=5, buffer_tokens=2),
  "sequence_kl_penalty": dict(kl_coef=0.1),
  "unlikeliness": dict(rank_coef=0.5),
  "ppo_clip": dict(clip_low=0.4, clip_high=0.4, dual_clip=1.1),
  "gspo": dict(clip_low=0.3, clip_high=0.3),
  "cispo": dict(clip_low=0.1, clip_high=0.1),
  "clip_cov": dict(clip_low=0.4, clip_high=0.4),
  "kl_cov": dict(kl_cov_coef=0.5),
  "truncated_importance": dict(cap=1.01),
  "token_mean": dict(over_kept=True),
  "sequence_mean": dict(over_kept=True),
  "fixed_length": dict(length=9),
  "forking_token_mask": dict(keep_frac=0.5),
  "steer_weights": dict(schedule="exponential", weight_min=0.5, weight_max=1.5),
  "empg_weights": dict(sharpness=2.0, future_sharpness=2.0, future_coef=0.2),
  "hicra_weights": dict(amplification=0.4),
  "clip_cov_tokens": dict(
    select_frac=0.1, cov_low=0.0, cov_high=0.0, clip_low=0.9, clip_high=9.0
  ),
  "kl_cov_tokens": dict(select_frac=0.5),
  "segment_ids": dict(separator_ids=(6,)),
  "planning_tokens": dict(phrases=((6,),)),
  "seq_logratio": dict(length_norm="token"),
  "tb_residual": dict(length_norm="token"),
  "vargrad_log_z": dict(length_norm="token", mean_over="batch"),
  "flowrl_weight": dict(w_mode="token", w_low=0.9, w_high=1.1),
  "trajectory_balance": dict(
    length_norm="token",
    w_mode="token",
    w_low=0.9,
    w_high=1.1,
    residual_low=-0.1,
    residual_high=0.1,
    units="accuracy",
  ),
  "noise_log_partition": dict(mean=1.0, std=0.5),
  "reversed_teacher": dict(
    gate="all", mode="ratio", threshold=0.5, normalize="row_mean"
  ),
  "antisd": dict(warm_entropy=0.0, off_frac=0.5),
  "srpo_weights": dict(temperature=2.0),
  "sdpo": dict(alpha=0.0, tail=False, max_ratio=1.01),
  "sdpo_token": dict(max_ratio=1.01),
  "opsd": dict(beta=1.0),
  "sdft": dict(direction="student_teacher"),
  "srpo": dict(
    alpha=1.0,
    tail=False,
    max_ratio=1.01,
    clip_low=0.4,
    clip_high=0.4,
    dual_clip=1.1,
  ),
}


def _hyper_parameters():
  return [
    (function, parameter.name)
    for function in _METHODS
    for parameter in inspect.signature(function).parameters.values()
    if parameter.default is not parameter.empty
  ]


# A flag that is parsed and read nowhere (Tunix's dynamic_sampling).
@pytest.mark.parametrize(
  "function, name",
  _hyper_parameters(),
  ids=lambda x: x if isinstance(x, str) else x.__name__,
)
def test_every_hyper_parameter_changes_something(function, name):
  assert name in _OTHER.get(function.__name__, {}), "give it another value"
  fields = batches.credited_fields()
  base = _SETTINGS.get(function.__name__, {})
  other = base | {name: _OTHER[function.__name__][name]}
  before = jax.tree.leaves(_bound(function, **base)(fields))
  after = jax.tree.leaves(_bound(function, **other)(fields))
  assert any(bool(jnp.any(a != b)) for a, b in zip(before, after, strict=True))


def test_no_array_has_a_default():
  # What has a default can be forgotten without a word.
  for function in _METHODS:
    for parameter in inspect.signature(function).parameters.values():
      if parameter.default is not parameter.empty:
        assert isinstance(parameter.default, (bool, int, float, str, tuple)), (
          parameter
        )
