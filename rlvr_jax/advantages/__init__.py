"""Credit per response: rewards and groups in, advantages f32[B] out."""

from rlvr_jax.advantages.group import grpo_advantages

__all__ = ["grpo_advantages"]
