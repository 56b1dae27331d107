"""Every public method function against its reference in NumPy float64.

A function that has no reference, no settings here, or a hyper-parameter that
no setting changes fails by name: whoever adds one writes its reference.
"""

import functools
import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import binding
from rlvr_jax import checks
from rlvr_jax import derived
from rlvr_jax import hooks
from rlvr_jax import losses
from rlvr_jax import token_weights
from rlvr_jax.rewards import shaping
from tests.reference import advantages as reference_advantages
from tests.reference import derived as reference_derived
from tests.reference import losses as reference_losses
from tests.reference import shaping as reference_shaping
from tests.reference import token_weights as reference_token_weights

_REFERENCES = {
  advantages: reference_advantages,
  derived: reference_derived,
  losses: reference_losses,
  shaping: reference_shaping,
  token_weights: reference_token_weights,
}
_WIDE = dict(clip_low=math.inf, clip_high=math.inf)
# Hyper-parameters by function; the defaults are always tried as well.
_SETTINGS = {
  "grpo_advantages": [
    dict(normalize_std=False),
    dict(ddof=0),
    dict(epsilon=0.1, ddof=0),
  ],
  "dr_grpo_advantages": [],
  "rloo_advantages": [],
  "reinforce_pp_advantages": [
    dict(epsilon=0.5),
  ],
  "reinforce_pp_baseline_advantages": [dict(epsilon=0.01)],
  "signed_advantages": [
    dict(positive_weight=0.0),
    dict(positive_weight=1.0, negative_weight=0.0),
    dict(positive_weight=0.7, negative_weight=0.3),
  ],
  "mixed_groups": [],
  "ppo_clip": [
    dict(clip_high=0.28),
    dict(clip_low=0.5, clip_high=0.05),
    dict(clip_high=0.28, dual_clip=3.0),
    dict(dual_clip=1.1),
    _WIDE,
  ],
  "gspo": [dict(clip_low=0.1), dict(clip_high=0.3, clip_low=0.2), _WIDE],
  "cispo": [dict(clip_low=0.2), dict(clip_low=0.1, clip_high=2.0), _WIDE],
  "clip_cov": [dict(clip_low=0.1, clip_high=0.28), _WIDE],
  "kl_cov": [dict(kl_cov_coef=0.3), dict(kl_cov_coef=0.0)],
  "negative_log_likelihood": [],
  "reinforce": [],
  "kl_k1": [],
  "kl_k2": [],
  "kl_k3": [],
  "entropy_bonus": [],
  "truncated_importance": [dict(cap=1.05), dict(cap=math.inf)],
  "token_mean": [dict(over_kept=True)],
  "sequence_mean": [dict(over_kept=True)],
  "fixed_length": [dict(length=1), dict(length=5)],
  "forking_token_mask": [
    dict(keep_frac=0.3),
    dict(keep_frac=0.01),
    dict(keep_frac=1.0),
  ],
  "steer_weights": [
    dict(weight_min=0.5, weight_max=1.7),
    dict(schedule="exponential"),
    dict(schedule="exponential", weight_min=0.3),
  ],
  "empg_weights": [
    dict(sharpness=0.0, future_coef=0.0),
    dict(sharpness=2.0, future_sharpness=0.5, future_coef=0.4),
  ],
  "hicra_weights": [dict(amplification=0.7)],
  "clip_cov_tokens": [
    dict(select_frac=0.05),
    dict(select_frac=0.1, cov_low=0.1, cov_high=0.9),
    dict(select_frac=1.0, cov_low=-9.0, cov_high=9.0),
    dict(select_frac=1.0, cov_low=-9.0, clip_low=0.05, clip_high=0.6),
  ],
  "kl_cov_tokens": [
    dict(select_frac=0.0),
    dict(select_frac=0.1),
    dict(select_frac=0.5),
  ],
  "segment_ids": [
    dict(separator_ids=(3,)),
    dict(separator_ids=(1, 4)),
    dict(separator_ids=(9,)),
  ],
  "planning_tokens": [
    dict(phrases=((3,),)),
    dict(phrases=((1, 2), (2, 1, 2), (4, 4))),
    dict(phrases=((1,) * 9, (2, 3, 1, 0))),
  ],
  "overlong_penalty": [
    dict(max_tokens=7, buffer_tokens=4),
    dict(max_tokens=5, buffer_tokens=1),
    dict(max_tokens=4, buffer_tokens=4),
  ],
  "sequence_kl_penalty": [dict(kl_coef=0.7), dict(kl_coef=0.0)],
  "unlikeliness": [dict(rank_coef=0.9), dict(rank_coef=0.0)],
  "seq_logratio": [dict(length_norm="token")],
  "tb_residual": [dict(length_norm="token")],
  "vargrad_log_z": [
    dict(length_norm="token"),
    dict(mean_over="batch"),
    dict(length_norm="token", mean_over="batch"),
  ],
  "flowrl_weight": [
    dict(w_mode="token", w_low=0.8, w_high=1.28),
    dict(w_low=0.8, w_high=1.2),
    dict(w_mode="sequence", w_high=math.inf),
    dict(w_mode="none"),
  ],
  "trajectory_balance": [
    dict(length_norm="token", w_mode="sequence", w_low=0.8, w_high=1.2),
    dict(w_mode="token", w_high=math.inf, units="accuracy"),
    dict(w_mode="sequence", residual_low=-1.0, residual_high=0.5),
    dict(length_norm="token", residual_high=0.2, units="accuracy"),
    dict(residual_low=-0.5),
  ],
  "zero_log_partition": [],
  "noise_log_partition": [dict(mean=-1.0), dict(std=0.0), dict(std=2.5)],
  "zero_anchor": [],
  "with_teacher": [],
  "d_hat": [],
  "srpo_weights": [dict(temperature=0.3), dict(temperature=math.inf)],
  "reversed_teacher": [
    dict(gate="all"),
    dict(normalize="row_mean"),
    dict(mode="sign", threshold=0.3),
    dict(gate="all", mode="sign", normalize="row_mean"),
    dict(gate="all", mode="keep", threshold=-0.2),
  ],
  "rlsd": [],
  # Mean entropies lie near 1 nat.
  "antisd": [
    dict(warm_entropy=1.3, off_frac=0.3),
    dict(warm_entropy=3.0, off_frac=0.9),
    dict(warm_entropy=0.1),
  ],
  "sdpo": [
    dict(alpha=0.0),
    dict(alpha=1.0, max_ratio=1.1),
    dict(alpha=0.2, tail=False, max_ratio=math.inf),
  ],
  "sdpo_token": [dict(max_ratio=1.1)],
  "opsd": [dict(beta=0.0), dict(beta=1.0), dict(beta=0.8)],
  "sdft": [dict(direction="student_teacher")],
  "srpo": [
    dict(alpha=0.0, clip_low=0.1, clip_high=0.1),
    dict(alpha=1.0, tail=False, max_ratio=1.1, dual_clip=1.1),
  ],
}
# What a function says of cells outside of the completion is nobody's concern.
_INSIDE_ONLY = ("gspo", "steer_weights")
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
_TOLERANCES = {"float64": 1e-9, "float32": 1e-5}
_SEEDS = range(4)
_ROWS, _TOKENS, _CANDIDATES = 12, 7, 3


def _public(module) -> dict:
  """Public functions of a room, its types left out."""
  names = getattr(module, "__all__", vars(module))
  return {
    name: getattr(module, name)
    for name in names
    if inspect.isfunction(getattr(module, name)) and not name.startswith("_")
  }


_FUNCTIONS = {
  name: (function, module)
  for module in _REFERENCES
  for name, function in _public(module).items()
}


def _reference(name):
  return getattr(_REFERENCES[_FUNCTIONS[name][1]], name)


def _all_settings():
  return [
    pytest.param(name, settings, id=f"{name}-{number}")
    for name in _FUNCTIONS
    for number, settings in enumerate([{}, *_SETTINGS.get(name, [])])
  ]


@functools.cache
def _fields(seed: int) -> dict[str, np.ndarray]:
  """A random batch that holds every case a formula tells apart.

  Groups of unequal sizes with unjudged rows: one with a single valid row, one
  without any, one of equal rewards. Completions of all lengths from 0 on, one
  that begins after a forced token. Ratios on both sides of every clip.
  """
  rng = np.random.default_rng(seed)
  shape = (_ROWS, _TOKENS)
  order = rng.permutation(_ROWS)
  group_ids = np.array([0, 0, 0, 0, 4, 4, 4, 7, 7, 7, 11, 11])[order]
  valid = np.array([1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0.0])[order]
  rewards = rng.normal(size=_ROWS)
  is_correct = (rng.random(_ROWS) < 0.5).astype(float)
  if seed % 2:
    rewards = is_correct.copy()
  rewards[group_ids == 4] = 0.3
  lengths = rng.permutation(np.arange(_ROWS) % (_TOKENS + 1))
  mask = (np.arange(_TOKENS)[None] < lengths[:, None]).astype(float)
  forced = int(np.argmax(lengths))
  mask[forced, 0] = 0.0
  below_zero = lambda x: np.minimum(x, -1e-3)
  logprobs = below_zero(-rng.exponential(1.0, shape))
  near = lambda scale: below_zero(logprobs + rng.normal(0, scale, shape))
  # Log-ratios between and beyond the widths of every clip, either way.
  gaps = [-1.4, -0.6, -0.3, -0.15, -0.06, 0.05, 0.14, 0.22, 0.4, 1.2]
  gaps = rng.choice(gaps, shape)
  gaps += rng.uniform(-0.02, 0.02, shape)
  gaps = np.where(logprobs - gaps > -1e-3, -gaps, gaps)
  old_logprobs = logprobs - gaps
  credit = 2.0 * rng.normal(size=shape)
  credit[2] = 0.0
  some = lambda share: (rng.random(shape) < share).astype(float)
  segments = np.cumsum(rng.random(shape) < 0.4, axis=1)
  segments -= segments[:, :1]
  # Tokens of a row that belong to no step.
  segments[4, :2] = -1
  segments[4, 2:] -= segments[4, 2]
  # Candidates of a vocabulary of one token more: the tail is never empty.
  candidates = lambda: np.log(
    rng.dirichlet(np.ones(_CANDIDATES + 1), shape)[..., :_CANDIDATES]
  )
  return {
    "group_ids": group_ids,
    "valid": valid,
    "rewards": rewards,
    "is_correct": is_correct,
    "completion_tokens": rng.integers(0, 5, shape),
    "completion_mask": mask,
    "loss_mask": mask * some(0.6),
    "token_losses": rng.normal(size=shape),
    "logprobs": logprobs,
    "old_logprobs": old_logprobs,
    "ref_logprobs": near(0.5),
    "sampler_logprobs": np.minimum(
      old_logprobs + rng.normal(0, 0.2, shape), -1e-3
    ),
    "frozen_logprobs": near(0.1),
    "entropies": rng.exponential(1.0, shape),
    "frozen_entropies": rng.exponential(1.0, shape),
    "token_advantages": credit,
    "token_uniforms": rng.random(shape),
    "segment_ids": segments,
    "planning_tokens": some(0.3),
    "clip_cov_tokens": some(0.3),
    "kl_cov_tokens": some(0.3),
    "anchor_logprobs": near(0.4),
    "log_partition": rng.normal(0.0, 2.0, _ROWS)[group_ids],
    "prompt_normals": rng.normal(size=_ROWS)[group_ids],
    "inv_temp": rng.uniform(0.5, 3.0, ()),
    "student_logprobs": near(0.3),
    "teacher_logprobs": near(0.7),
    "teacher_entropies": rng.exponential(1.0, shape),
    "has_teacher": (rng.random(_ROWS) < 0.7).astype(float),
    "d_hat": rng.normal(0.0, 0.8, shape),
    "srpo_weights": rng.uniform(0.2, 2.0, shape),
    "support_logprobs": candidates(),
    "teacher_support_logprobs": candidates(),
    "teacher_mix": rng.uniform(0.2, 0.9, ()),
    # On either side of 1, where the floor at 0 begins.
    "teacher_clip": np.array([0.4, 1.3, 0.8, 1.0][seed % 4]),
  }


def _rounded(fields, dtype) -> dict[str, np.ndarray]:
  """The same numbers as the compiled function gets."""
  return {
    name: np.asarray(value, dtype)
    if np.issubdtype(value.dtype, np.floating)
    else value.astype(np.int32)
    for name, value in fields.items()
  }


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


def _assert_close(name, found, expected, fields, tolerance, inside_only):
  """Equal in structure, and in value relative to the largest entry."""
  found = jax.tree.leaves(found)
  expected = jax.tree.leaves(expected)
  assert len(found) == len(expected), name
  for ours, theirs in zip(found, expected, strict=True):
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if inside_only and theirs.ndim == 2:
      inside = fields["completion_mask"] > 0
      ours, theirs = np.broadcast_to(ours, inside.shape)[inside], theirs[inside]
    assert ours.shape == theirs.shape, name
    scale = np.max(np.abs(theirs), initial=0.0)
    np.testing.assert_allclose(
      ours, theirs, rtol=0, atol=tolerance * scale, err_msg=name
    )


@functools.cache
def _compiled(name, settings, dtype):
  """Compiled once for all seeds; `dtype` only tells the programs apart."""
  del dtype
  part = binding.bound(_FUNCTIONS[name][0], **dict(settings))
  return jax.jit(lambda batch: part(batch))


def _compare(name, part, fields, dtype):
  picked = {field: fields[field] for field in part.field_names}
  with jax.enable_x64(dtype == "float64"):
    found = _compiled(name, tuple(part.settings.items()), dtype)(picked)
  for leaf in jax.tree.leaves(found):
    # A leaf of another type was computed in another precision.
    assert np.ndim(leaf) == 0 or leaf.dtype in (dtype, "int32"), name
  exact = {
    field: value.astype(np.float64) if value.dtype == dtype else value
    for field, value in picked.items()
  }
  expected = _reference(name)(**exact, **part.settings)
  _assert_close(
    name, found, expected, fields, _TOLERANCES[dtype], name in _INSIDE_ONLY
  )


@pytest.mark.parametrize("module", _REFERENCES, ids=lambda m: m.__name__)
def test_every_public_function_has_a_reference(module):
  room = module.__name__
  for name in _public(module):
    assert hasattr(_REFERENCES[module], name), (
      f"{room}.{name} has no reference: write it in"
      f" {_REFERENCES[module].__name__} from the paper's formula"
    )
    assert name in _SETTINGS, (
      f"{room}.{name} has no settings here: list values of its"
      " hyper-parameters in _SETTINGS"
    )


def test_every_function_that_a_config_can_name_is_compared():
  for modules in hooks.ROOMS.values():
    for module in modules:
      for name, value in vars(module).items():
        if inspect.isfunction(value) and value.__module__ == module.__name__:
          assert name.startswith("_") or name in _FUNCTIONS, (
            f"{module.__name__}.{name} is not in the __all__ of its room"
          )


@pytest.mark.parametrize("name", _FUNCTIONS)
def test_references_take_the_same_keywords_with_the_same_defaults(name):
  def described(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: (p.kind, p.default) for p in parameters}

  assert described(_reference(name)) == described(_FUNCTIONS[name][0])


@pytest.mark.parametrize("name", _FUNCTIONS)
def test_every_hyper_parameter_takes_a_value_beside_its_default(name):
  for parameter in inspect.signature(_FUNCTIONS[name][0]).parameters.values():
    if parameter.default is not parameter.empty:
      values = [s.get(parameter.name) for s in _SETTINGS[name]]
      assert any(v not in (None, parameter.default) for v in values), (
        f"no setting of {name} changes {parameter.name}"
      )


@pytest.mark.parametrize("dtype", _TOLERANCES)
@pytest.mark.parametrize("name, settings", _all_settings())
def test_values_agree(name, settings, dtype):
  part = binding.bound(_FUNCTIONS[name][0], **settings)
  for seed in _SEEDS:
    _compare(name, part, _rounded(_fields(seed), dtype), dtype)


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
      completion_mask=_one_hot((_ROWS, _TOKENS), (2, 0)),
      valid=_one_hot((_ROWS,), (2,)),
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


@pytest.mark.parametrize("dtype", _TOLERANCES)
@pytest.mark.parametrize("edge", _EDGES)
def test_values_agree_on_the_edge(edge, dtype):
  name, settings, change = _EDGES[edge]
  part = binding.bound(_FUNCTIONS[name][0], **settings)
  for seed in _SEEDS[:2]:
    fields = _fields(seed)
    fields = _rounded(fields | change(fields), dtype)
    _compare(name, part, fields, dtype)


@pytest.mark.parametrize(
  "name",
  [
    name
    for name, (function, _) in _FUNCTIONS.items()
    if {"completion_mask", "valid"} & set(binding.bound(function).field_names)
  ],
)
def test_cells_outside_of_the_batch_reach_no_cell_inside(name):
  part = binding.bound(_FUNCTIONS[name][0], **[{}, *_SETTINGS[name]][-1])
  fields = _rounded(_fields(0), "float32")
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


def _gradient_settings(functions):
  return [
    pytest.param(name, settings, id=f"{name}-{number}")
    for name in functions
    for number, settings in enumerate([{}, *_SETTINGS[name]])
  ]


def _jax_gradient(name, settings, fields, upstream, live="logprobs"):
  part = binding.bound(_FUNCTIONS[name][0], **settings)
  with jax.enable_x64(True):
    picked = {field: jnp.asarray(fields[field]) for field in part.field_names}
    weights = jnp.asarray(upstream)
    values = lambda x: jax.tree.leaves(part(picked | {live: x}))[0]
    value = lambda x: jnp.sum(values(x) * weights)
    return np.asarray(jax.jit(jax.grad(value))(picked[live]))


@pytest.mark.parametrize("name, settings", _gradient_settings(_TOKEN_LOSSES))
def test_gradients_agree_with_differences_of_the_reference(name, settings):
  for seed in _SEEDS[:2]:
    fields = _rounded(_fields(seed), "float64")
    upstream = np.random.default_rng(seed).normal(size=(_ROWS, _TOKENS))
    upstream *= fields["completion_mask"]
    # A loss that freezes a part of itself is differentiated around it.
    surrogate = getattr(reference_losses, f"{name}_surrogate", None)
    reference = surrogate or _reference(name)
    names = inspect.signature(_reference(name)).parameters
    picked = {k: fields[k] for k in names if k in fields}
    if surrogate:
      picked["frozen_logprobs"] = fields["logprobs"]
    value = lambda x, reference=reference, picked=picked, upstream=upstream: (
      np.sum(reference(**(picked | {"logprobs": x}), **settings) * upstream)
    )
    np.testing.assert_allclose(
      _jax_gradient(name, settings, fields, upstream),
      _differences(value, fields["logprobs"]),
      rtol=1e-6,
      atol=1e-6,
    )


@pytest.mark.parametrize("name, settings", _gradient_settings(_RESPONSE_LOSSES))
def test_gradients_of_responses_agree_with_differences(name, settings):
  fields = _rounded(_fields(0), "float64")
  upstream = np.random.default_rng(0).normal(size=_ROWS)
  # The importance weight is frozen: it is differentiated around.
  surrogate = getattr(reference_losses, f"{name}_surrogate", None)
  reference = surrogate or _reference(name)
  names = inspect.signature(_reference(name)).parameters
  picked = {k: fields[k] for k in names if k in fields}
  if surrogate:
    picked["frozen_logprobs"] = fields["logprobs"]
  for live in {"logprobs", "log_partition"}.intersection(names):
    value = lambda x, live=live: np.sum(
      jax.tree.leaves(reference(**(picked | {live: x}), **settings))[0]
      * upstream
    )
    np.testing.assert_allclose(
      _jax_gradient(name, settings, fields, upstream, live=live),
      _differences(value, fields[live]),
      rtol=1e-6,
      atol=1e-5,
    )


@pytest.mark.parametrize(
  "name, settings", _gradient_settings(_DISTILLATION_LOSSES)
)
def test_gradients_of_distillation_agree_with_differences(name, settings):
  fields = _rounded(_fields(0), "float64")
  upstream = np.random.default_rng(0).normal(size=(_ROWS, _TOKENS))
  upstream *= fields["completion_mask"]
  # The importance weight is frozen: it is differentiated around.
  surrogate = getattr(reference_losses, f"{name}_surrogate", None)
  reference = surrogate or _reference(name)
  names = inspect.signature(_reference(name)).parameters
  picked = {k: fields[k] for k in names if k in fields}
  if surrogate:
    picked["frozen_logprobs"] = fields["logprobs"]
  for live in {"logprobs", "support_logprobs"}.intersection(names):
    value = lambda x, live=live: np.sum(
      reference(**(picked | {live: x}), **settings) * upstream
    )
    np.testing.assert_allclose(
      _jax_gradient(name, settings, fields, upstream, live=live),
      _differences(value, fields[live]),
      rtol=1e-6,
      atol=1e-6,
    )


@pytest.mark.parametrize("settings", [{}, *_SETTINGS["gspo"]])
def test_gspo_has_the_gradient_of_its_sequence_form(settings):
  # With one advantage and one weight a row, as `sequence_mean` gives, the
  # token form has the gradient of exp(mean log-ratio) itself.
  fields = dict(_rounded(_fields(0), "float64"))
  rng = np.random.default_rng(1)
  fields["token_advantages"] = np.tile(rng.normal(size=(_ROWS, 1)), _TOKENS)
  upstream = np.tile(rng.normal(size=(_ROWS, 1)), _TOKENS)
  upstream *= fields["completion_mask"]
  names = inspect.signature(reference_losses.gspo).parameters
  picked = {k: fields[k] for k in names if k in fields}
  value = lambda x: np.sum(
    reference_losses.gspo(**(picked | {"logprobs": x}), **settings) * upstream
  )
  np.testing.assert_allclose(
    _jax_gradient("gspo", settings, fields, upstream),
    _differences(value, fields["logprobs"]),
    rtol=1e-6,
    atol=1e-6,
  )


def test_the_entropy_bonus_has_the_gradient_of_minus_the_entropy():
  fields = _rounded(_fields(0), "float64")
  upstream = np.random.default_rng(0).normal(size=(_ROWS, _TOKENS))
  value = lambda x: np.sum(
    reference_losses.entropy_bonus(entropies=x) * upstream
  )
  np.testing.assert_allclose(
    _jax_gradient("entropy_bonus", {}, fields, upstream, live="entropies"),
    _differences(value, fields["entropies"]),
    atol=1e-6,
  )


def test_the_random_batches_hold_the_cases_that_formulas_tell_apart():
  batches = [_fields(seed) for seed in _SEEDS]
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
    assert lengths.min() == 0 and lengths.max() >= _TOKENS - 1
  # The draw of Clip-Cov is a draw: more tokens are eligible than it takes.
  names = binding.bound(derived.clip_cov_tokens).field_names
  drawn = lambda share: sum(
    reference_derived.clip_cov_tokens(
      **{name: batch[name] for name in names}, select_frac=share
    ).sum()
    for batch in batches
  )
  assert 0 < drawn(0.02) < drawn(1.0) < pooled("completion_mask").sum()
