"""Tunix's Qwen3, freshly drawn, and where a transformers name lies in it."""

from typing import Any

from flax import nnx
import jax
from tunix.models.qwen3 import model as qwen3

from benchmarks import workload

PACKAGES = (
  "google-tunix",
  "jax",
  "jaxlib",
  "flax",
  "optax",
  "qwix",
  "transformers",
  "tokenizers",
  "numpy",
)


def build(size: workload.Size, dtype: Any) -> nnx.Module:
  """A model whose matrices are normal, as in all other sides."""
  model = qwen3.Qwen3(
    qwen3.ModelConfig(
      num_layers=size.layers,
      vocab_size=size.vocab,
      embed_dim=size.width,
      hidden_dim=size.ffn,
      num_heads=size.heads,
      head_dim=size.head_dim,
      num_kv_heads=size.kv_heads,
      rope_theta=int(workload.ROPE_BASE),
      norm_eps=workload.NORM_EPSILON,
      use_tied_embedding=True,
      dtype=dtype,
      param_dtype=dtype,
      remat_config=qwen3.RematConfig.NONE,
    ),
    rngs=nnx.Rngs(workload.SEED),
  )
  # As it comes, the matrices of its MLPs are zero: made to load a checkpoint.
  leaves, tree = jax.tree.flatten(nnx.state(model, nnx.Param))
  keys = jax.random.split(jax.random.key(workload.SEED), len(leaves))
  drawn = [
    x
    if x.ndim == 1
    else (workload.INIT_STD * jax.random.normal(key, x.shape)).astype(x.dtype)
    for key, x in zip(keys, leaves, strict=True)
  ]
  nnx.update(model, jax.tree.unflatten(tree, drawn))
  return model


def parameters(model: nnx.Module) -> int:
  """How many numbers are learned."""
  return sum(x.size for x in jax.tree.leaves(nnx.state(model, nnx.Param)))


def places(size: workload.Size) -> dict[str, tuple[tuple, bool]]:
  """Path in Tunix's state, and whether it is transposed, by name of a tensor.

  Example: "model.norm.weight" lies at (("final_norm", "w"), False).
  """
  found = {
    "model.embed_tokens.weight": (("embedder", "input_embedding"), False),
    "model.norm.weight": (("final_norm", "w"), False),
  }
  for layer in range(size.layers):
    start, inside = f"model.layers.{layer}.", ("layers", layer)
    for name in ("input_layernorm", "post_attention_layernorm"):
      found[f"{start}{name}.weight"] = ((*inside, name, "w"), False)
    for name in ("q_norm", "k_norm"):
      path = (*inside, "attn", name, "w")
      found[f"{start}self_attn.{name}.weight"] = (path, False)
    for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
      path = (*inside, "attn", name, "w")
      found[f"{start}self_attn.{name}.weight"] = (path, True)
    for name in ("gate_proj", "up_proj", "down_proj"):
      path = (*inside, "mlp", name, "kernel")
      found[f"{start}mlp.{name}.weight"] = (path, True)
  return found
