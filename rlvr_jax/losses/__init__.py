"""Objectives as functions of named arrays; their values stay f32[B, T].

Nothing here knows of models, configurations or batches: import one function
into any loop. Reduce with one of `token_mean`, `sequence_mean` and
`fixed_length`, which return sum and count apart.
"""

from rlvr_jax.losses.aggregate import fixed_length
from rlvr_jax.losses.aggregate import sequence_mean
from rlvr_jax.losses.aggregate import token_mean
from rlvr_jax.losses.clipped import ppo_clip
from rlvr_jax.losses.likelihood import negative_log_likelihood

__all__ = [
  "fixed_length",
  "negative_log_likelihood",
  "ppo_clip",
  "sequence_mean",
  "token_mean",
]
