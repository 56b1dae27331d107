"""Credit per response: rewards and groups in, advantages f32[B] out.

A function may return (advantages, keep) as well: rows with keep 0 leave the
loss. `mixed_groups` and `with_teacher` return keep alone.
"""

from rlvr_jax.advantages.filters import mixed_groups
from rlvr_jax.advantages.filters import with_teacher
from rlvr_jax.advantages.global_batch import reinforce_pp_advantages
from rlvr_jax.advantages.global_batch import reinforce_pp_baseline_advantages
from rlvr_jax.advantages.group import dr_grpo_advantages
from rlvr_jax.advantages.group import grpo_advantages
from rlvr_jax.advantages.group import rloo_advantages
from rlvr_jax.advantages.signed import signed_advantages

__all__ = [
  "dr_grpo_advantages",
  "grpo_advantages",
  "mixed_groups",
  "reinforce_pp_advantages",
  "reinforce_pp_baseline_advantages",
  "rloo_advantages",
  "signed_advantages",
  "with_teacher",
]
