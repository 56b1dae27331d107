"""Every public method function, its hooks, and settings for a small batch."""

import inspect

from rlvr_jax import advantages
from rlvr_jax import derived
from rlvr_jax import hooks
from rlvr_jax import losses
from rlvr_jax import names
from rlvr_jax import token_weights
from rlvr_jax.rewards import shaping

PACKAGES = (advantages, losses, token_weights, derived)
METHODS = [
  function
  for room in (*PACKAGES, shaping)
  for function in names.public_functions(room).values()
  if inspect.isfunction(function)
]
IN_HOOKS = [
  (hook, function)
  for hook, modules in hooks.ROOMS.items()
  for module in modules
  for function in names.public_functions(module).values()
]
DERIVED = names.public_functions(derived)
# The field that a keyword takes where no field has the keyword's name.
_ALIASES = {
  "anchor_logprobs": "ref_logprobs",
  "student_logprobs": "old_logprobs",
}
SCALARS = {"inv_temp": 2.0, "teacher_mix": 0.5, "teacher_clip": 1.0}
# Settings under which all others matter on a batch of six tokens a row.
SETTINGS = {
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


def required(method):
  parameters = inspect.signature(method).parameters.values()
  return [p.name for p in parameters if p.default is p.empty]


def aliases(method):
  return {k: v for k, v in _ALIASES.items() if k in required(method)}
