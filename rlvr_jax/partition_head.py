"""The log-partition in a run: its settings, its values, its accuracy.

A head's output f is in units of accuracy, log Z = kappa * f with kappa =
`inv_temp`: the accuracy estimate of PACED-RL, beta log Z, is then f itself,
and Adam's step does not depend on kappa. FlowRL's is log Z in nats.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from rlvr_jax import errors
from rlvr_jax import names
from rlvr_jax import optimizers
from rlvr_jax import records
from rlvr_jax import settings
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.models import log_partition as log_partition_lib
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import prefix

_CHOICES = {
  "kind": ("mlp", "table", "scalar"),
  "embedding": ("initial", "live"),
  "pooling": prefix.POOLINGS,
  "units": ("accuracy", "nats"),
}
# Standard deviations below it are taken for 0: a constant dimension.
_LEAST_STD = 1e-6


@dataclasses.dataclass(frozen=True)
class LogPartitionConfig:
  """How log Z(x) is learned."""

  # Of the head alone, with its own clip.
  optimizer: optimizers.OptimizerConfig
  # "mlp" on a prompt embedding, "table" of one number per training prompt, or
  # one "scalar" for all.
  kind: str = "mlp"
  # What the MLP reads: embeddings of the "initial" model, computed once and
  # standardised, or those of the "live" policy, through which the loss then
  # reaches the policy.
  embedding: str = "initial"
  # "mean" over all prompt tokens; "mean_but_last" is FlowRL's code.
  pooling: str = "mean"
  # Of the head's output: "accuracy" (log Z = kappa * output) or "nats".
  units: str = "accuracy"
  # Output at the start, in those units; without a probe.
  initial: float = 0.5
  # Training prompts whose measured accuracy the output starts from; 0 none.
  probe_prompts: int = 0
  # Clip the joint gradient of policy and head by optimizer.clip_norm.
  joint_clip: bool = False
  # Replayed rows, all of them right, pull log Z upwards: by default they leave
  # it alone.
  learns_from_replay: bool = False
  # Accept rewards that are no raw verdicts where the head estimates accuracy.
  allow_shaped: bool = False

  def __post_init__(self):
    for name, choices in _CHOICES.items():
      value = getattr(self, name)
      settings.require(
        value in choices,
        f"config.log_partition.{name} is {value!r}:"
        f" {names.did_you_mean(value, choices)}",
      )
    settings.require(
      self.probe_prompts >= 0,
      f"config.log_partition.probe_prompts is {self.probe_prompts}: set it to"
      " 0 or more",
    )


class Head(NamedTuple):
  """A head that a run trains.

  Attributes:
    config: how.
    optimizer: of its parameters.
    joint_clip_norm: largest norm of the joint gradient; 0 for none.
  """

  config: LogPartitionConfig
  optimizer: optax.GradientTransformation
  joint_clip_norm: float = 0.0

  @property
  def reads_prompts(self) -> bool:
    """Whether it reads embeddings of the initial model."""
    return (self.config.kind, self.config.embedding) == ("mlp", "initial")

  def init(
    self, key: jax.Array, num_prompts: int, width: int, initial: jax.Array
  ) -> Any:
    """Fresh parameters whose output is `initial` f32[] everywhere."""
    if self.config.kind == "table":
      return {"table": jnp.full((num_prompts,), initial, jnp.float32)}
    if self.config.kind == "scalar":
      return {"scalar": jnp.asarray(initial, jnp.float32)}
    module = log_partition_lib.LogPartition(initial=0.0)
    params = module.init(key, jnp.zeros((1, width)))["params"]
    bias = jnp.full((1,), initial, jnp.float32)
    return params | {"value": params["value"] | {"bias": bias}}

  def log_partition(
    self,
    params: Any,
    prompts: records.PromptBatch,
    inv_temp: jax.Array,
    live_embeddings: jax.Array | None = None,
  ) -> jax.Array:
    """log Z of prompts, f32[G], nats.

    Args:
      params: of the head.
      prompts: G prompts.
      inv_temp: f32[], kappa.
      live_embeddings: f32[G, D], of the current policy.

    Raises:
      errors.UserError: if the embeddings are missing or of another width.
    """
    output = self._output(params, prompts, live_embeddings)
    return output * inv_temp if self.config.units == "accuracy" else output

  def accuracy(
    self, params: Any, prompts: records.PromptBatch, inv_temp: jax.Array
  ) -> jax.Array:
    """What log Z / kappa says of the policy's accuracy, f32[G], not clipped.

    See "Beyond Normalization" (https://arxiv.org/abs/2602.12642), where the
    accuracy is beta log Z - beta KL(old || current) and the second term is
    dropped [paper excerpt: digest]. A fitted proxy; nothing keeps it in
    [0, 1].
    """
    return self.log_partition(params, prompts, inv_temp) / inv_temp

  def _output(self, params, prompts, live_embeddings) -> jax.Array:
    config = self.config
    if config.kind == "table":
      return params["table"][prompts.prompt_ids]
    if config.kind == "scalar":
      return jnp.broadcast_to(params["scalar"], prompts.prompt_ids.shape)
    live = config.embedding == "live"
    embeddings = live_embeddings if live else prompts.embeddings
    if embeddings is None:
      raise errors.UserError(
        f"the log-partition head reads {config.embedding} prompt embeddings,"
        " and there are none: fill prompts.embeddings with"
        " `standardised(embed(...))` of the initial model"
      )
    width = params["hidden_0"]["kernel"].shape[0]
    if embeddings.shape[-1] != width:
      raise errors.UserError(
        f"prompt embeddings have width {embeddings.shape[-1]}, but the"
        f" log-partition head takes {width}: compute them with the model that"
        " the head was made for"
      )
    module = log_partition_lib.LogPartition()
    return module.apply({"params": params}, embeddings)


def standardised(embeddings: jax.Array) -> jax.Array:
  """Embeddings f32[N, D] with mean 0 and deviation 1 in every dimension.

  Dimensions that hardly vary become 0. [inferred]
  """
  centred = embeddings - jnp.mean(embeddings, axis=0, keepdims=True)
  std = jnp.sqrt(jnp.mean(jnp.square(centred), axis=0, keepdims=True))
  return jnp.where(
    std > _LEAST_STD, centred / jnp.maximum(std, _LEAST_STD), 0.0
  )


def embed_all(
  model: transformer.Transformer,
  params: Any,
  prompts: records.PromptBatch,
  *,
  pooling: str,
  chunk: int,
  multiple: int = 1,
) -> jax.Array:
  """Standardised embeddings of all prompts of a split, a chunk at a time.

  Args:
    model: the transformer.
    params: of the initial model.
    prompts: N prompts.
    pooling: see `prefix.pooled`.
    chunk: prompts that go through the model at a time.
    multiple: rows of the result are padded with zeros to a multiple of this,
      so that devices can share them.

  Returns:
    f32[N', D].
  """
  model, params = transformer.gathered(model, params)
  num_prompts = prompts.prompt_ids.shape[0]
  num_chunks = -(-num_prompts // chunk)
  # The last chunk repeats prompts to keep its shape.
  places = (jnp.arange(num_chunks * chunk) % num_prompts).reshape(-1, chunk)
  embed = lambda ids: (
    prefix.read_prompts(
      model, params, prompts_lib.take(prompts, ids), pooling=pooling
    ).embeddings
  )
  found = jax.lax.map(embed, places).reshape(num_chunks * chunk, -1)
  values = standardised(found[:num_prompts])
  return jnp.pad(values, ((0, -num_prompts % multiple), (0, 0)))
