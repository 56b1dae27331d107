"""The forward passes of an update, and the fields that they fill."""

from typing import Any, NamedTuple

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import keys
from rlvr_jax import objective as objective_lib
from rlvr_jax import partition_head
from rlvr_jax import parts as parts_lib
from rlvr_jax import records
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import scoring

Fields = dict[str, jax.Array]


def known(
  state: records.TrainState,
  rollouts: records.RolloutBatch,
  method: objective_lib.Objective,
  head: partition_head.Head | None,
  is_replayed: float = 0.0,
) -> parts_lib.Part:
  """The rollouts with every field that is known before any pass."""
  fields = records.fields(rollouts) | {"step": state.step}
  named = objective_lib.needed_fields(method)
  if "token_uniforms" in named:
    fields["token_uniforms"] = _token_uniforms(state, fields)
  if "prompt_normals" in named:
    key = keys.stream_key(state.seed, "partition_noise", state.step)
    fields["prompt_normals"] = keys.prompt_normals(key, fields["prompt_ids"])
  if head:
    fields["is_replayed"] = jnp.full_like(fields["valid"], is_replayed)
  return parts_lib.Part(rollouts.prompts, rollouts.completion_tokens, fields)


def score(
  model: transformer.Transformer,
  temperature: float,
  head: partition_head.Head | None,
  params: Any,
  part: parts_lib.Part,
  has_support: bool = False,
) -> scoring.TokenScores:
  """What the parameters make of (a part of) a batch.

  Args:
    model: the transformer.
    temperature: the sampler's.
    head: reads the prompts' embeddings, if there is one.
    params: of the model.
    part: prompts and completions.
    has_support: score candidate tokens too, those of the field `support_ids`
      or the whole vocabulary.
  """
  support_ids = part.fields.get("support_ids") if has_support else None
  return scoring.score_completions(
    model,
    params,
    part.prompts,
    part.completion_tokens,
    temperature=temperature,
    pooling=head.config.pooling if head else "mean",
    support_ids=support_ids,
    full_support=has_support and support_ids is None,
  )


class Scorers(NamedTuple):
  """The forward passes of an update, over a batch or a part of it.

  Attributes:
    model: the transformer.
    temperature: the sampler's.
    head: reads the prompts' embeddings, if there is one.
    has_candidates: whether the loss looks at candidate tokens.
  """

  model: transformer.Transformer
  temperature: float
  head: partition_head.Head | None
  has_candidates: bool

  def score(self, params: Any, part: parts_lib.Part) -> scoring.TokenScores:
    """What credit reads of (a part of) a batch."""
    return score(self.model, self.temperature, self.head, params, part)

  def score_all(self, params: Any, part: parts_lib.Part) -> scoring.TokenScores:
    """The same with all that the loss reads, candidate tokens included."""
    return score(
      self.model, self.temperature, self.head, params, part, self.has_candidates
    )

  def divided(self, part: parts_lib.Part, number: int) -> parts_lib.Division:
    """How so many passes split a batch, on the devices."""
    partition = self.model.partition
    devices = partition.num_row_parts if partition else 1
    return parts_lib.division(part, number, devices)

  def in_parts(
    self, params: Any, batch: parts_lib.Part, number: int
  ) -> scoring.TokenScores:
    """`score` outside of the gradient, a part of the batch at a time."""
    into = self.divided(batch, number)
    if into.num_parts == 1:
      return self.score(params, batch)
    scores = lax.map(
      lambda part: self.score(params, part), parts_lib.split(batch, into)
    )
    # The prompts' embeddings come once per part; only rows are wanted here.
    rows = lambda x: parts_lib.joined_rows(x, into)
    return scores.replace(
      logprobs=rows(scores.logprobs),
      entropies=rows(scores.entropies),
      mean_logprobs=rows(scores.mean_logprobs),
      embeddings=None,
      support_logprobs=None,
    )


def scorers(
  model: transformer.Transformer,
  method: objective_lib.Objective,
  temperature: float,
  head: partition_head.Head | None,
) -> Scorers:
  """What a method needs of a model; arguments as in `score`."""
  named = objective_lib.needed_fields(method)
  return Scorers(model, temperature, head, "support_logprobs" in named)


def with_live(scores: scoring.TokenScores, fields: Fields) -> Fields:
  """The fields with those of the current policy.

  `old_logprobs` are the live ones under stop-gradient, unless given.
  """
  names = ("logprobs", "entropies", "mean_logprobs", "support_logprobs")
  found = {name: getattr(scores, name) for name in names}
  live = {name: value for name, value in found.items() if value is not None}
  old = lax.stop_gradient(scores.logprobs)
  return {"old_logprobs": old} | fields | live


def _token_uniforms(state: records.TrainState, fields: Fields) -> jax.Array:
  """Random numbers by prompt, sample and position, f32[B, T]."""
  key = keys.stream_key(state.seed, "credit", state.step)
  row_keys = keys.row_keys(key, fields["prompt_ids"], fields["sample_index"])
  return keys.position_uniforms(row_keys, fields["completion_mask"].shape[1])
