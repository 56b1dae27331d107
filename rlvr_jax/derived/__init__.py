"""Fields computed from other fields; a function fills the field of its name.

An experiment file lists the ones it needs under `derived`. Each is computed
as soon as the fields that it names are there: before the advantages, after
them, or, if it names the current policy, at each update.
"""

from rlvr_jax.derived.covariance import clip_cov_tokens
from rlvr_jax.derived.covariance import kl_cov_tokens
from rlvr_jax.derived.partition import noise_log_partition
from rlvr_jax.derived.partition import zero_anchor
from rlvr_jax.derived.partition import zero_log_partition
from rlvr_jax.derived.segments import planning_tokens
from rlvr_jax.derived.segments import segment_ids
from rlvr_jax.derived.teacher import d_hat
from rlvr_jax.derived.teacher import srpo_weights

__all__ = [
  "clip_cov_tokens",
  "d_hat",
  "kl_cov_tokens",
  "noise_log_partition",
  "planning_tokens",
  "segment_ids",
  "srpo_weights",
  "zero_anchor",
  "zero_log_partition",
]
