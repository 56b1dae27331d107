"""What every public method function promises, checked in one loop."""

import doctest
import inspect
import io
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import hooks
from rlvr_jax import names
from rlvr_jax import objective as objective_lib
from tests import batches
from tests import contract

_bound = objective_lib.bound
_each_in_its_hook = pytest.mark.parametrize(
  "hook, function", contract.IN_HOOKS, ids=lambda x: getattr(x, "__name__", x)
)


@pytest.fixture(params=contract.METHODS, ids=lambda method: method.__name__)
def method(request):
  return request.param


def _arguments(method):
  fields = batches.credited_fields()
  return {name: fields[name] for name in contract.required(method)}


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
  name, aliases = function.__name__, contract.aliases(function)
  config = {"derived": tuple(contract.DERIVED), "scalars": contract.SCALARS}
  config |= {name: contract.aliases(f) for name, f in contract.DERIVED.items()}
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
  offered = {function for _, function in contract.IN_HOOKS}
  for package in contract.PACKAGES:
    of_package = {
      function
      for function in offered
      if function.__module__.startswith(f"{package.__name__}.")
    }
    assert of_package
    assert of_package == {
      f for f in contract.METHODS if f in vars(package).values()
    }
  assert offered == set(contract.METHODS)


def test_every_public_name_is_a_method_or_a_record():
  for room in contract.PACKAGES:
    assert room.__all__ == sorted(room.__all__)
    for name in room.__all__:
      value = getattr(room, name)
      assert inspect.isfunction(value) or inspect.isclass(value)


def test_a_name_means_one_function_within_a_hook():
  for modules in hooks.ROOMS.values():
    found = [name for m in modules for name in names.public_functions(m)]
    assert len(found) == len(set(found))


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
    for function in contract.METHODS
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
  base = contract.SETTINGS.get(function.__name__, {})
  other = base | {name: _OTHER[function.__name__][name]}
  before = jax.tree.leaves(_bound(function, **base)(fields))
  after = jax.tree.leaves(_bound(function, **other)(fields))
  assert any(bool(jnp.any(a != b)) for a, b in zip(before, after, strict=True))


def test_no_array_has_a_default():
  # What has a default can be forgotten without a word.
  for function in contract.METHODS:
    for parameter in inspect.signature(function).parameters.values():
      if parameter.default is not parameter.empty:
        assert isinstance(parameter.default, (bool, int, float, str, tuple)), (
          parameter
        )
