"""The decoder: RMSNorm, rotary positions, grouped queries, SwiGLU, QK-norm.

The Qwen3 architecture ("Qwen3 Technical Report",
https://arxiv.org/abs/2505.09388); without QK-norm that of Llama, and with
biases on queries, keys and values that of Qwen2 and Qwen2.5; with norms behind
attention and MLP, QK-norm over the full width and sliding windows that of
OLMo 3 (https://arxiv.org/abs/2512.13961). Pure: keys and values go in and come
out as a pytree, never as hidden state.

Shape letters: B rows, T positions, D width, N query heads, K key/value heads,
H head width, F feed-forward width, V vocabulary.
"""

import dataclasses
import functools
import math
from typing import Any

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import ops
from rlvr_jax.models import attention
from rlvr_jax.models import cache as cache_lib
from rlvr_jax.models import configs
from rlvr_jax.models import views


@jax.custom_vjp
def _flat_product(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """x @ kernel, float[M, D] by [D, F]."""
  return x @ kernel


def _flat_product_backward(saved, upstream):
  x, kernel = saved
  d_kernel = ops.transposed_product(x, upstream)
  return upstream @ kernel.T, d_kernel.astype(kernel.dtype)


_flat_product.defvjp(
  lambda x, kernel: (x @ kernel, (x, kernel)), _flat_product_backward
)


def _product(x: jax.Array, kernel: jax.Array, platform: str) -> jax.Array:
  """float[B, T, F] of x float[B, T, ...] by [D, F], D the size of the rest."""
  if platform == "cpu":
    # XLA:CPU multiplies fastest where both operands have two axes.
    flat = _flat_product(x.reshape(-1, kernel.shape[0]), kernel)
    return flat.reshape(*x.shape[:2], -1)
  # Elsewhere a product takes its operands as they lie: flattened, XLA:TPU
  # would write them anew.
  rest = x.shape[2:]
  return jnp.tensordot(x, kernel.reshape(*rest, -1), axes=len(rest))


def _matrix(init_std: float, *axes: str):
  init = nn.initializers.normal(init_std)
  return nn.with_logical_partitioning(init, axes)


def _feature_axis(axes: tuple[str, ...]) -> int:
  """The one of a matrix's two axes that is not the width; -1 or -2."""
  return -2 if axes[-1] == "embed" else -1


class RMSNorm(nn.Module):
  """Root-mean-square norm over the last axis, in float32."""

  epsilon: float

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    init = nn.with_logical_partitioning(nn.initializers.ones, ("norm",))
    scale = self.param("scale", init, (x.shape[-1],))
    exact = x.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(exact), axis=-1, keepdims=True)
    normed = exact * lax.rsqrt(mean_square + self.epsilon)
    return (normed * jnp.broadcast_to(scale, x.shape)).astype(x.dtype)


class Linear(nn.Module):
  """x @ kernel, of x float[B, T, D], or with more axes in the place of D.

  Attributes:
    features: width of the output.
    axes: logical names of the kernel's two axes; a bias has the second.
    init_std: standard deviation of the initial kernel.
    has_bias: add a bias, at first 0.
    partition: of the model.
  """

  features: int
  axes: tuple[str, str]
  init_std: float
  has_bias: bool = False
  partition: ops.Partition | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    shape = (math.prod(x.shape[2:]), self.features)
    kernel = self.param("kernel", _matrix(self.init_std, *self.axes), shape)
    kernel = ops.gathered(
      kernel.astype(x.dtype), self.partition, _feature_axis(self.axes)
    )
    out = _product(x, kernel, ops.platform_of(self.partition))
    if self.has_bias:
      init = nn.with_logical_partitioning(nn.initializers.zeros, self.axes[1:])
      bias = self.param("bias", init, (self.features,))
      out += bias.astype(x.dtype)[None, None]
    return out


class Attention(nn.Module):
  """Grouped-query attention, with normalised queries and keys or without."""

  config: configs.ModelConfig
  partition: ops.Partition | None = None

  @nn.compact
  def __call__(self, x, view, slides, prefix, cache, index):
    config = self.config
    rows, positions, _ = x.shape

    def heads(name: str, num_heads: int) -> jax.Array:
      normed = lambda x: RMSNorm(config.norm_epsilon, name=f"{name}_norm")(x)
      qk_norm = "none" if name == "value" else config.qk_norm
      projected = Linear(
        num_heads * config.head_dim,
        ("embed", "heads"),
        config.init_std,
        config.attention_bias,
        self.partition,
        name=name,
      )(x)
      if qk_norm == "full":
        projected = normed(projected)
      split = projected.reshape(rows, positions, num_heads, config.head_dim)
      split = ops.laid_out(split, self.partition, 2)
      return normed(split) if qk_norm == "head" else split

    queries = attention.rotate(heads("query", config.num_heads), view.angles)
    keys = attention.rotate(heads("key", config.num_kv_heads), view.angles)
    values = heads("value", config.num_kv_heads)
    own = attention.KeyValues(
      keys.transpose(0, 2, 3, 1), values.transpose(0, 2, 1, 3)
    )
    if cache is not None:
      own = attention.written(cache, own, index)
    if view.is_real is not None and self._has_kernel(queries, own):
      mixed = self._attend_in_order(queries, own, view, slides, prefix)
    else:
      mixed = attention.attend(
        queries, own, view.mask, prefix, view.prefix_mask
      )
    out = Linear(
      config.width,
      ("heads", "embed"),
      config.init_std,
      config.output_bias,
      self.partition,
      name="output",
    )(mixed)
    return out, own

  def _has_kernel(self, queries, own) -> bool:
    if self.config.attention == "xla":
      return False
    return attention.has_kernel(queries, own, self.partition)

  def _attend_in_order(self, queries, own, view, slides, prefix):
    """A kernel's window is fixed: scanned layers choose between two."""
    attend = functools.partial(
      attention.attend_in_order,
      queries,
      own,
      view.is_real,
      prefix,
      partition=self.partition,
    )
    if slides is None:
      return attend(window=view.window)
    window = self.config.sliding_window
    return lax.cond(
      slides, lambda: attend(window=window), lambda: attend(window=0)
    )


class Mlp(nn.Module):
  """SwiGLU: silu(x W_gate) * (x W_up), projected back."""

  config: configs.ModelConfig
  partition: ops.Partition | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    config = self.config
    linear = functools.partial(
      Linear, init_std=config.init_std, partition=self.partition
    )
    up = lambda name: linear(config.mlp_width, ("embed", "mlp"), name=name)(x)
    gated = jax.nn.silu(up("gate")) * up("up")
    return linear(config.width, ("mlp", "embed"), name="down")(gated)


class Block(nn.Module):
  """One layer. Returns (x, keys and values), as `nn.scan` wants."""

  config: configs.ModelConfig
  partition: ops.Partition | None = None

  @nn.compact
  def __call__(self, x, prefix, cache, slides, full, sliding, index):
    """`slides` bool[], or None for the `full` view in every layer."""
    config = self.config
    view = full
    if slides is not None:
      view = jax.tree.map(
        lambda a, b: jnp.where(slides, a, b), sliding.replace(window=0), full
      )

    attention_norm = RMSNorm(config.norm_epsilon, name="attention_norm")
    mlp_norm = RMSNorm(config.norm_epsilon, name="mlp_norm")
    before = lambda norm, x: x if config.post_norm else norm(x)
    after = lambda norm, x: norm(x) if config.post_norm else x
    mixed, own = Attention(config, self.partition, name="attention")(
      before(attention_norm, x), view, slides, prefix, cache, index
    )
    x = ops.laid_out(x + after(attention_norm, mixed), self.partition)
    out = Mlp(config, self.partition, name="mlp")(before(mlp_norm, x))
    return ops.laid_out(x + after(mlp_norm, out), self.partition), own


_REMAT_POLICIES = {
  "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  "full": jax.checkpoint_policies.nothing_saveable,
}


class Transformer(nn.Module):
  """Tokens in, hidden states and keys/values out.

  Three uses of one function:
    prompts:      model(tokens[G, P], positions, which are real)
    completions:  the same with prefix = the prompts' keys and values
    decoding:     one token a row, cache of capacity S, index = where to write

  Attributes:
    config: its shape.
    partition: how rows and heads lie on a mesh, where it is to run on one;
      None on a single device, or to leave everything to the compiler.
  """

  config: configs.ModelConfig
  partition: ops.Partition | None = None

  def setup(self) -> None:
    config = self.config
    block = Block
    if config.remat != "none":
      block = nn.remat(
        Block,
        policy=_REMAT_POLICIES[config.remat],
        prevent_cse=not config.scan_layers,
      )
    if config.scan_layers:
      self.layers = nn.scan(
        block,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        in_axes=(0, 0, 0) + (nn.broadcast,) * 3,
        length=config.num_layers,
        metadata_params={nn.PARTITION_NAME: "layers"},
      )(config, self.partition)
    else:
      self.layers = [
        block(config, self.partition) for _ in range(config.num_layers)
      ]
    self.final_norm = RMSNorm(config.norm_epsilon)
    self.embedding = self.param(
      "embedding",
      _matrix(config.init_std, "vocab", "embed"),
      (config.vocab_size, config.width),
    )
    if not config.tied_embeddings:
      self.lm_head = self.param(
        "lm_head",
        _matrix(config.init_std, "embed", "vocab"),
        (config.width, config.vocab_size),
      )

  def __call__(
    self,
    tokens: jax.Array,
    positions: jax.Array,
    mask: jax.Array | None = None,
    prefix: Any = None,
    prefix_mask: jax.Array | None = None,
    cache: cache_lib.Cache | None = None,
    index: jax.Array | int = 0,
  ) -> tuple[jax.Array, Any]:
    """Runs the stack.

    Args:
      tokens: i32[B, T].
      positions: i32[B, T], the token's place in its row.
      mask: without a cache bool[B, T], real tokens, of which each query sees
        those up to its own; None where all are real. With a cache bool,
        broadcastable to [B, T, S], the slots that each query sees.
      prefix: keys and values of prompts, shared by B // G rows each.
      prefix_mask: bool[G, P], real prompt tokens.
      cache: own keys and values of capacity S, of layers that are not scanned;
        the new ones are written from `index` on. A ring: what lies S - 1 slots
        back follows `index`.
      index: first cache slot to write.

    Returns:
      float[B, T, D] after the final norm, and the own keys and values: of each
      layer, or of scanned layers one `KeyValues` with an axis for them.
    """
    config = self.config
    x = self._embed(tokens)
    full, sliding = views.of_layers(
      config,
      positions,
      mask,
      prefix_mask,
      None if cache is None else index,
    )
    if config.scan_layers:
      slides = None
      if sliding:
        layers = jnp.arange(config.num_layers)
        slides = jnp.isin(layers, jnp.array(config.sliding_layers))
      x, own = self.layers(x, prefix, None, slides, full, sliding, index)
    else:
      per_layer = []
      for layer, block in enumerate(self.layers):
        pick = lambda parts, layer=layer: parts and parts[layer]
        view = sliding if layer in config.sliding_layers else full
        x, layer_own = block(
          x, pick(prefix), pick(cache), None, view, None, index
        )
        per_layer.append(layer_own)
      own = tuple(per_layer)
    return self.final_norm(x), own

  def _embed(self, tokens: jax.Array) -> jax.Array:
    table = self.embedding.astype(self.config.dtype)
    table = ops.gathered(table, self.partition, -2)
    if self.config.vocab_size <= 256:
      # A product with one-hot rows: for small vocabularies its gradient is a
      # matrix product too, where a gather's is a slow scatter.
      one_hot = jax.nn.one_hot(tokens, table.shape[0], dtype=table.dtype)
      return ops.laid_out(one_hot @ table, self.partition)
    return ops.laid_out(table[tokens], self.partition)

  def unembedding(self) -> jax.Array:
    """The matrix float[D, V] from hidden states to logits."""
    kernel = self.embedding.T if self.config.tied_embeddings else self.lm_head
    return ops.gathered(kernel.astype(self.config.dtype), self.partition, -1)


def gathered(model: Transformer, params: Any) -> tuple[Transformer, Any]:
  """A model and its parameters for a loop that uses each of them many times.

  The layers would cast them at every use, and gather them where a mesh splits
  them along the width: these are cast and gathered once.
  """
  config, partition = model.config, model.partition
  is_split = partition is not None and partition.num_param_parts > 1
  if config.dtype == "float32" and not is_split:
    return model, params
  init = functools.partial(init_params, config, jax.random.key(0))

  def whole(axes, x: jax.Array) -> jax.Array:
    if "embed" not in axes:
      return x
    return ops.gathered(x.astype(config.dtype), partition, _feature_axis(axes))

  if is_split:
    model = model.clone(partition=dataclasses.replace(partition, params=None))
  axes = nn.get_partition_spec(jax.eval_shape(init))
  return model, jax.tree.map(whole, axes, params)


def unrolled(model: Transformer, params: Any) -> tuple[Transformer, Any]:
  """The same model with its layers side by side, for a loop around them all.

  A scan takes every layer's parameters, keys and values out of their stacks,
  and puts the keys and values into new ones. Within a decoding loop that would
  copy the whole cache at every step.
  """
  config = model.config
  if not config.scan_layers:
    return model, params
  config = dataclasses.replace(config, scan_layers=False, remat="none")
  return model.clone(config=config), side_by_side(params, config.num_layers)


def side_by_side(params: dict[str, Any], num_layers: int) -> dict[str, Any]:
  """Parameters of unrolled layers out of those of scanned ones."""
  stacked = params["layers"]
  layers = {
    f"layers_{i}": jax.tree.map(lambda x, i=i: x[i], stacked)
    for i in range(num_layers)
  }
  return {name: x for name, x in params.items() if name != "layers"} | layers


def init_params(config: configs.ModelConfig, key: jax.Array) -> Any:
  """Fresh parameters, boxed with the logical names of their axes."""
  tokens = jnp.zeros((1, 1), jnp.int32)
  return Transformer(config).init(key, tokens, tokens)["params"]
