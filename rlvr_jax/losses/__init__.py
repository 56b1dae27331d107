"""Objectives as functions of named arrays; their values stay f32[B, T].

Nothing here knows of models, configurations or batches: import one function
into any loop. Reduce with one of `token_mean`, `sequence_mean` and
`fixed_length`, which return sum and count apart. Every function looks at its
own rows alone; what needs the whole batch is an advantage, a token weight or
a derived field.
"""

from rlvr_jax.losses.aggregate import fixed_length
from rlvr_jax.losses.aggregate import sequence_mean
from rlvr_jax.losses.aggregate import token_mean
from rlvr_jax.losses.behavior import Behavior
from rlvr_jax.losses.behavior import truncated_importance
from rlvr_jax.losses.clipped import cispo
from rlvr_jax.losses.clipped import gspo
from rlvr_jax.losses.clipped import ppo_clip
from rlvr_jax.losses.covariance import clip_cov
from rlvr_jax.losses.covariance import kl_cov
from rlvr_jax.losses.distillation import opsd
from rlvr_jax.losses.distillation import sdft
from rlvr_jax.losses.distillation import sdpo
from rlvr_jax.losses.distillation import sdpo_token
from rlvr_jax.losses.distillation import srpo
from rlvr_jax.losses.likelihood import negative_log_likelihood
from rlvr_jax.losses.likelihood import reinforce
from rlvr_jax.losses.regularizers import entropy_bonus
from rlvr_jax.losses.regularizers import kl_k1
from rlvr_jax.losses.regularizers import kl_k2
from rlvr_jax.losses.regularizers import kl_k3
from rlvr_jax.losses.trajectory_balance import Balance
from rlvr_jax.losses.trajectory_balance import flowrl_weight
from rlvr_jax.losses.trajectory_balance import seq_logratio
from rlvr_jax.losses.trajectory_balance import tb_residual
from rlvr_jax.losses.trajectory_balance import trajectory_balance
from rlvr_jax.losses.trajectory_balance import vargrad_log_z

__all__ = [
  "Balance",
  "Behavior",
  "cispo",
  "clip_cov",
  "entropy_bonus",
  "fixed_length",
  "flowrl_weight",
  "gspo",
  "kl_cov",
  "kl_k1",
  "kl_k2",
  "kl_k3",
  "negative_log_likelihood",
  "opsd",
  "ppo_clip",
  "reinforce",
  "sdft",
  "sdpo",
  "sdpo_token",
  "seq_logratio",
  "sequence_mean",
  "srpo",
  "tb_residual",
  "token_mean",
  "trajectory_balance",
  "truncated_importance",
  "vargrad_log_z",
]
