"""The only importer of `rlvr_jax.kernels`."""

from rlvr_jax.kernels.attention import causal_attention
from rlvr_jax.kernels.attention import suitable as suitable_attention
from rlvr_jax.kernels.candidate_logprobs import candidate_logprobs
from rlvr_jax.kernels.candidate_logprobs import top_tokens
from rlvr_jax.kernels.partition import each
from rlvr_jax.kernels.partition import gathered
from rlvr_jax.kernels.partition import laid_out
from rlvr_jax.kernels.partition import of_each
from rlvr_jax.kernels.partition import Partition
from rlvr_jax.kernels.partition import platform_of
from rlvr_jax.kernels.token_logprobs import token_logprobs
from rlvr_jax.kernels.transposed_product import transposed_product

__all__ = [
  "Partition",
  "candidate_logprobs",
  "causal_attention",
  "each",
  "gathered",
  "laid_out",
  "of_each",
  "platform_of",
  "suitable_attention",
  "token_logprobs",
  "top_tokens",
  "transposed_product",
]
