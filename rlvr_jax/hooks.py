"""The hooks that a method can touch, and the modules that serve them.

A module's namespace is the registry: a function in one of these files can be
named in an experiment file, and there is nothing to register with.

  reward_shaping   rewards reshaped before any group statistic
  advantage        credit per response
  filters          responses to leave out
  token_weights    credit per token
  behavior         corrections for who acted
  token_loss       the surrogate, per token
  sequence_loss    or per response
  regularizers     added terms
  aggregate        from token losses to a mean
  derived          fields computed from fields
"""

import sys

from rlvr_jax import losses
from rlvr_jax.advantages import filters
from rlvr_jax.advantages import global_batch
from rlvr_jax.advantages import group
from rlvr_jax.advantages import signed
from rlvr_jax.derived import covariance as covariance_tokens
from rlvr_jax.derived import partition
from rlvr_jax.derived import segments
from rlvr_jax.derived import teacher as teacher_fields
from rlvr_jax.losses import aggregate
from rlvr_jax.losses import behavior
from rlvr_jax.losses import clipped
from rlvr_jax.losses import covariance
from rlvr_jax.losses import distillation
from rlvr_jax.losses import likelihood
from rlvr_jax.losses import regularizers
from rlvr_jax.rewards import shaping
from rlvr_jax.token_weights import entropy
from rlvr_jax.token_weights import planning
from rlvr_jax.token_weights import teacher

# The module; the package exports the function of the same name.
trajectory_balance = sys.modules[losses.trajectory_balance.__module__]

ROOMS = {
  "reward_shaping": (shaping,),
  "advantage": (group, global_batch, signed),
  "filters": (filters,),
  "token_weights": (entropy, planning, teacher),
  "behavior": (behavior,),
  "token_loss": (clipped, covariance, distillation, likelihood),
  "sequence_loss": (trajectory_balance,),
  "regularizers": (
    regularizers,
    likelihood,
    trajectory_balance,
    distillation,
  ),
  "aggregate": (aggregate,),
  "derived": (
    covariance_tokens,
    segments,
    partition,
    trajectory_balance,
    teacher_fields,
  ),
}
# Hooks that hold one function; the others hold a tuple of them.
SINGLE = ("advantage", "token_loss", "sequence_loss", "aggregate")
MANY = tuple(hook for hook in ROOMS if hook not in SINGLE)
