"""Every public method function against its reference in NumPy float64.

A function that has no reference, no settings here, or a hyper-parameter that
no setting changes fails by name: whoever adds one writes its reference.
"""

import inspect

import jax
import numpy as np
import pytest

from rlvr_jax import binding
from rlvr_jax import checks
from rlvr_jax import derived
from rlvr_jax import hooks
from tests.reference import comparison
from tests.reference import derived as reference_derived
from tests.reference.settings import SETTINGS


def _with_junk(fields, names):
  """NaN in every cell that a named mask takes out of the batch."""
  fields = dict(fields)
  for name in names:
    value = fields[name]
    if not np.issubdtype(value.dtype, np.floating) or name.endswith("_mask"):
      continue
    shape = checks.SHAPES[name]
    if shape.startswith("BT") and "completion_mask" in names:
      inside = fields["completion_mask"] > 0
      wide = inside.reshape(*inside.shape, *(1,) * (value.ndim - 2))
      fields[name] = np.where(wide, value, np.nan)
    elif shape == "B" and "valid" in names and name != "valid":
      fields[name] = np.where(fields["valid"] > 0, value, np.nan)
  return fields


@pytest.mark.parametrize(
  "module", comparison.REFERENCES, ids=lambda m: m.__name__
)
def test_every_public_function_has_a_reference(module):
  room, references = module.__name__, comparison.REFERENCES[module]
  for name in comparison.public(module):
    assert any(hasattr(reference, name) for reference in references), (
      f"{room}.{name} has no reference: write it in"
      f" {' or '.join(r.__name__ for r in references)} from the paper's formula"
    )
    assert name in SETTINGS, (
      f"{room}.{name} has no settings here: list values of its"
      " hyper-parameters in SETTINGS"
    )


def test_every_function_that_a_config_can_name_is_compared():
  for modules in hooks.ROOMS.values():
    for module in modules:
      for name, value in vars(module).items():
        if inspect.isfunction(value) and value.__module__ == module.__name__:
          assert name.startswith("_") or name in comparison.FUNCTIONS, (
            f"{module.__name__}.{name} is not in the __all__ of its room"
          )


@pytest.mark.parametrize("name", comparison.FUNCTIONS)
def test_references_take_the_same_keywords_with_the_same_defaults(name):
  def described(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: (p.kind, p.default) for p in parameters}

  assert described(comparison.reference(name)) == described(
    comparison.FUNCTIONS[name]
  )


@pytest.mark.parametrize("name", comparison.FUNCTIONS)
def test_every_hyper_parameter_takes_a_value_beside_its_default(name):
  signature = inspect.signature(comparison.FUNCTIONS[name])
  for parameter in signature.parameters.values():
    if parameter.default is not parameter.empty:
      values = [s.get(parameter.name) for s in SETTINGS[name]]
      assert any(v not in (None, parameter.default) for v in values), (
        f"no setting of {name} changes {parameter.name}"
      )


@pytest.mark.parametrize("dtype", comparison.TOLERANCES)
@pytest.mark.parametrize(
  "name, settings", comparison.each_setting(comparison.FUNCTIONS)
)
def test_values_agree(name, settings, dtype):
  for seed in comparison.SEEDS:
    fields = comparison.random_fields(seed)
    comparison.assert_agree(name, settings, fields, dtype)


def _one_hot(shape, index):
  array = np.zeros(shape)
  array[index] = 1.0
  return array


def _never(logprobs):
  """The first candidate has probability 0."""
  logprobs = logprobs.copy()
  logprobs[..., 0] = -np.inf
  return logprobs


# Function, settings, and what is changed in the batch.
_EDGES = {
  "omegas below the floor of STEER": (
    "steer_weights",
    dict(schedule="exponential"),
    lambda f: dict(token_advantages=1e-3 * f["token_advantages"]),
  ),
  "equal omegas": (
    "steer_weights",
    {},
    lambda f: dict(token_advantages=np.zeros_like(f["token_advantages"])),
  ),
  "equal entropies of all steps": (
    "empg_weights",
    {},
    lambda f: dict(frozen_entropies=np.full_like(f["frozen_entropies"], 0.5)),
  ),
  "tied entropies": (
    "forking_token_mask",
    {},
    lambda f: dict(entropies=np.round(f["entropies"])),
  ),
  "tied covariances": (
    "kl_cov_tokens",
    dict(select_frac=0.1),
    lambda f: dict(logprobs=-np.ones_like(f["logprobs"])),
  ),
  "tied draws": (
    "clip_cov_tokens",
    dict(select_frac=0.1, cov_low=0.1),
    lambda f: dict(token_uniforms=np.full_like(f["token_uniforms"], 0.5)),
  ),
  "rewards equal in the whole batch": (
    "reinforce_pp_advantages",
    {},
    lambda f: dict(rewards=np.full_like(f["rewards"], 0.1)),
  ),
  "one token in the whole batch": (
    "reinforce_pp_advantages",
    {},
    lambda f: dict(
      completion_mask=_one_hot((comparison.ROWS, comparison.TOKENS), (2, 0)),
      valid=_one_hot((comparison.ROWS,), (2,)),
    ),
  ),
  "no right row": (
    "reversed_teacher",
    {},
    lambda f: dict(is_correct=np.zeros_like(f["is_correct"])),
  ),
  "no teacher at all": (
    "antisd",
    dict(warm_entropy=1.0),
    lambda f: dict(has_teacher=np.zeros_like(f["has_teacher"])),
  ),
  "no wrong row": (
    "srpo_weights",
    {},
    lambda f: dict(is_correct=np.ones_like(f["is_correct"])),
  ),
  "a candidate that neither view gives": (
    "sdpo",
    {},
    lambda f: dict(
      support_logprobs=_never(f["support_logprobs"]),
      teacher_support_logprobs=_never(f["teacher_support_logprobs"]),
    ),
  ),
  "a candidate that the policy never gives": (
    "opsd",
    {},
    lambda f: dict(support_logprobs=_never(f["support_logprobs"])),
  ),
  "a candidate that the teacher never gives": (
    "sdft",
    {},
    lambda f: dict(
      teacher_support_logprobs=_never(f["teacher_support_logprobs"])
    ),
  ),
  "no valid row": (
    "grpo_advantages",
    {},
    lambda f: dict(valid=np.zeros_like(f["valid"])),
  ),
}


@pytest.mark.parametrize("dtype", comparison.TOLERANCES)
@pytest.mark.parametrize("edge", _EDGES)
def test_values_agree_on_the_edge(edge, dtype):
  name, settings, change = _EDGES[edge]
  for seed in comparison.SEEDS[:2]:
    fields = comparison.random_fields(seed)
    fields = fields | change(fields)
    comparison.assert_agree(name, settings, fields, dtype)


@pytest.mark.parametrize(
  "name",
  [
    name
    for name, function in comparison.FUNCTIONS.items()
    if {"completion_mask", "valid"} & set(binding.bound(function).field_names)
  ],
)
def test_cells_outside_of_the_batch_reach_no_cell_inside(name):
  part = comparison.part(name, [{}, *SETTINGS[name]][-1])
  fields = comparison.rounded(comparison.random_fields(0), "float32")
  junk = _with_junk(fields, part.field_names)
  compiled = jax.jit(lambda batch: part(batch))
  pick = lambda batch: {field: batch[field] for field in part.field_names}
  inside = {1: fields["valid"] > 0, 2: fields["completion_mask"] > 0}
  for clean, dirty in zip(
    jax.tree.leaves(compiled(pick(fields))),
    jax.tree.leaves(compiled(pick(junk))),
    strict=True,
  ):
    if not np.ndim(clean):
      np.testing.assert_array_equal(clean, dirty)
      continue
    kept = inside[clean.ndim]
    if "valid" not in part.field_names and clean.ndim == 1:
      kept = np.ones_like(kept)
    np.testing.assert_array_equal(clean[kept], dirty[kept])


def test_the_random_batches_hold_the_cases_that_formulas_tell_apart():
  batches = [comparison.random_fields(seed) for seed in comparison.SEEDS]
  pooled = lambda name: np.concatenate(
    [batch[name][batch["completion_mask"] > 0] for batch in batches]
  )
  ratio = np.exp(pooled("logprobs") - pooled("old_logprobs"))
  credit = pooled("token_advantages")
  edges = [0.0, 0.5, 0.8, 0.9, 1.0, 1.1, 1.2, 1.28, 3.0, np.inf]
  for sign in (-1, 1):
    found = np.histogram(ratio[np.sign(credit) == sign], edges)[0]
    assert np.all(found > 0), (sign, found)
  assert np.any(credit == 0)
  for batch in batches:
    lengths = batch["completion_mask"].sum(axis=1)
    assert lengths.min() == 0 and lengths.max() >= comparison.TOKENS - 1
  # The draw of Clip-Cov is a draw: more tokens are eligible than it takes.
  names = binding.bound(derived.clip_cov_tokens).field_names
  drawn = lambda share: sum(
    reference_derived.clip_cov_tokens(
      **{name: batch[name] for name in names}, select_frac=share
    ).sum()
    for batch in batches
  )
  assert 0 < drawn(0.02) < drawn(1.0) < pooled("completion_mask").sum()
