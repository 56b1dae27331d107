"""Public functions beside their references, and batches to compare them on."""

import functools
import inspect
import itertools

import jax
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import binding
from rlvr_jax import derived
from rlvr_jax import losses
from rlvr_jax import token_weights
from rlvr_jax.rewards import shaping
from tests.reference import advantages as reference_advantages
from tests.reference import derived as reference_derived
from tests.reference import shaping as reference_shaping
from tests.reference import token_weights as reference_token_weights
from tests.reference.losses import aggregate
from tests.reference.losses import behavior
from tests.reference.losses import clipped
from tests.reference.losses import covariance
from tests.reference.losses import distillation
from tests.reference.losses import likelihood
from tests.reference.losses import regularizers
from tests.reference.losses import trajectory_balance
from tests.reference.settings import SETTINGS

# The modules of a room's references.
REFERENCES = {
  advantages: (reference_advantages,),
  derived: (reference_derived,),
  losses: (
    aggregate,
    behavior,
    clipped,
    covariance,
    distillation,
    likelihood,
    regularizers,
    trajectory_balance,
  ),
  shaping: (reference_shaping,),
  token_weights: (reference_token_weights,),
}
# What a function says of cells outside of the completion is nobody's concern.
_INSIDE_ONLY = ("gspo", "steer_weights")
TOLERANCES = {"float64": 1e-9, "float32": 1e-5}
SEEDS = range(4)
ROWS, TOKENS, _CANDIDATES = 12, 7, 3


def public(module) -> dict:
  """Public functions of a room, its types left out."""
  names = getattr(module, "__all__", vars(module))
  return {
    name: getattr(module, name)
    for name in names
    if inspect.isfunction(getattr(module, name)) and not name.startswith("_")
  }


FUNCTIONS = {
  name: function
  for module in REFERENCES
  for name, function in public(module).items()
}


def part(name, settings):
  """A public function with its settings."""
  return binding.bound(FUNCTIONS[name], **settings)


def reference(name, kind=""):
  """Its reference; None where it has none of the kind, see `surrogates`."""
  modules = itertools.chain(*REFERENCES.values())
  found = (getattr(module, name + kind, None) for module in modules)
  return next(filter(None, found), None)


def each_setting(names):
  """Names, each with its defaults and with all other settings."""
  return [
    pytest.param(name, settings, id=f"{name}-{number}")
    for name in names
    for number, settings in enumerate([{}, *SETTINGS.get(name, [])])
  ]


@functools.cache
def random_fields(seed: int) -> dict[str, np.ndarray]:
  """A random batch that holds every case a formula tells apart.

  Groups of unequal sizes with unjudged rows: one with a single valid row, one
  without any, one of equal rewards. Completions of all lengths from 0 on, one
  that begins after a forced token. Ratios on both sides of every clip.
  """
  rng = np.random.default_rng(seed)
  shape = (ROWS, TOKENS)
  order = rng.permutation(ROWS)
  group_ids = np.array([0, 0, 0, 0, 4, 4, 4, 7, 7, 7, 11, 11])[order]
  valid = np.array([1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0.0])[order]
  rewards = rng.normal(size=ROWS)
  is_correct = (rng.random(ROWS) < 0.5).astype(float)
  if seed % 2:
    rewards = is_correct.copy()
  rewards[group_ids == 4] = 0.3
  lengths = rng.permutation(np.arange(ROWS) % (TOKENS + 1))
  mask = (np.arange(TOKENS)[None] < lengths[:, None]).astype(float)
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
    "log_partition": rng.normal(0.0, 2.0, ROWS)[group_ids],
    "prompt_normals": rng.normal(size=ROWS)[group_ids],
    "inv_temp": rng.uniform(0.5, 3.0, ()),
    "student_logprobs": near(0.3),
    "teacher_logprobs": near(0.7),
    "teacher_entropies": rng.exponential(1.0, shape),
    "has_teacher": (rng.random(ROWS) < 0.7).astype(float),
    "d_hat": rng.normal(0.0, 0.8, shape),
    "srpo_weights": rng.uniform(0.2, 2.0, shape),
    "support_logprobs": candidates(),
    "teacher_support_logprobs": candidates(),
    "teacher_mix": rng.uniform(0.2, 0.9, ()),
    # On either side of 1, where the floor at 0 begins.
    "teacher_clip": np.array([0.4, 1.3, 0.8, 1.0][seed % 4]),
  }


def rounded(fields, dtype) -> dict[str, np.ndarray]:
  """The same numbers as the compiled function gets."""
  return {
    name: np.asarray(value, dtype)
    if np.issubdtype(value.dtype, np.floating)
    else value.astype(np.int32)
    for name, value in fields.items()
  }


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
  bound = part(name, dict(settings))
  return jax.jit(lambda batch: bound(batch))


def assert_agree(name, settings, fields, dtype):
  """A function and its reference on `fields`, rounded to a dtype."""
  fields = rounded(fields, dtype)
  picked = {k: fields[k] for k in part(name, settings).field_names}
  with jax.enable_x64(dtype == "float64"):
    found = _compiled(name, tuple(settings.items()), dtype)(picked)
  for leaf in jax.tree.leaves(found):
    # A leaf of another type was computed in another precision.
    assert np.ndim(leaf) == 0 or leaf.dtype in (dtype, "int32"), name
  exact = {
    field: value.astype(np.float64) if value.dtype == dtype else value
    for field, value in picked.items()
  }
  expected = reference(name)(**exact, **settings)
  _assert_close(
    name, found, expected, fields, TOLERANCES[dtype], name in _INSIDE_ONLY
  )
