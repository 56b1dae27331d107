"""Held-out accuracy: pass@k, greedy, distinct solutions, with their errors."""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import hosts
from rlvr_jax import keys
from rlvr_jax import masked
from rlvr_jax import records
from rlvr_jax import verbalization
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import vocabulary as vocabulary_lib
from rlvr_jax.metrics import pass_at_k
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import sampler


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
  """What is measured on held-out prompts, and how often."""

  # Training steps between evaluations; the first and last step are evaluated
  # in any case.
  every_steps: int = 25
  # Prompts, the first of the split.
  num_prompts: int = 128
  # Samples of each prompt; pass@k is reported for 1 and for this number. One
  # more is decoded greedily.
  num_generations: int = 8
  temperature: float = 1.0
  # Prompts decoded at a time.
  batch_prompts: int = 32
  # Never sample a token that is a marker of `config.epistemic`.
  suppresses_markers: bool = False


class Evaluation(NamedTuple):
  """Result of one evaluation.

  Attributes:
    metrics: value by name, each "x" with its standard error "x_se",
      clustered by problem.
    samples: the first sample of the first prompts, as text with its outcome.
    words: what `verbalization.text_metrics` says of all sampled responses,
      where markers are given.
    per_problem: f64[N] by name, of which `metrics` are the means.
  """

  metrics: dict[str, float]
  samples: list[dict[str, str]]
  words: dict[str, float]
  per_problem: dict[str, np.ndarray]


class Decoded(NamedTuple):
  """Per prompt and sample, [G, n + 1]; the last sample is the greedy one."""

  tokens: jax.Array
  outcomes: jax.Array
  entropies: jax.Array
  lengths: jax.Array
  finished: jax.Array


def make_sample(
  model: transformer.Transformer,
  config: EvaluationConfig,
  completion_tokens: int,
  vocabulary: vocabulary_lib.Vocabulary,
  seed: int,
  logit_bias: jax.Array | None = None,
) -> Callable[..., records.RolloutBatch]:
  """The function (params, PromptBatch) -> rollouts, to compile.

  Every evaluation of a run draws the same random numbers, so that differences
  between steps are differences between policies.
  """
  samples = config.num_generations + 1
  sampler_config = sampler.SamplerConfig(
    num_generations=samples,
    completion_tokens=completion_tokens,
    temperature=config.temperature,
  )

  def sample(params, prompts) -> records.RolloutBatch:
    num_prompts = prompts.prompt_ids.shape[0]
    greedy = jnp.arange(num_prompts * samples) % samples == samples - 1
    return sampler.generate(
      model,
      params,
      prompts,
      keys.stream_key(seed, "evaluate"),
      config=sampler_config,
      stop_ids=vocabulary.stop_ids,
      pad_id=vocabulary.pad_id,
      temperature=jnp.where(greedy, 0.0, config.temperature),
      logit_bias=logit_bias,
    )

  return sample


def summed_up(rollouts: records.RolloutBatch, outcomes: jax.Array) -> Decoded:
  """What an evaluation needs of rollouts and how each ended, i32[B]."""
  num_prompts = rollouts.prompts.prompt_ids.shape[0]
  mask = rollouts.completion_mask
  entropies = masked.masked_sum(rollouts.frozen_entropies, mask, axis=1)
  by_prompt = lambda x: x.reshape(num_prompts, -1, *x.shape[1:])
  return Decoded(
    by_prompt(rollouts.completion_tokens),
    by_prompt(outcomes),
    by_prompt(entropies / jnp.sum(mask, axis=1)),
    by_prompt(jnp.sum(mask, axis=1)),
    by_prompt(rollouts.finished),
  )


def evaluate(
  take: Callable[..., records.PromptBatch],
  decode: Callable[..., Decoded],
  params: Any,
  prompt_set: prompts_lib.PromptSet,
  *,
  config: EvaluationConfig,
  vocabulary: vocabulary_lib.Vocabulary,
  num_texts: int = 5,
  markers: Sequence[str] = (),
  answer_of: Callable[[str], str | None] | None = None,
) -> Evaluation:
  """Decodes the first prompts of a split and sums them up.

  Args:
    take: `prompts.take`, compiled or not.
    decode: (params, PromptBatch) -> what `summed_up` gives.
    params: of the model.
    prompt_set: the split, on device.
    config: as given to `make_sample`.
    vocabulary: of the task.
    num_texts: samples returned as text.
    markers: words to count in the responses.
    answer_of: the answer in a response, for maj@k; see
      `verification.answer_reader`.
  """
  where = prompt_set.prompts.prompt_ids.sharding
  parts = []
  for places in batches(config, prompt_set.num_prompts):
    batch = take(prompt_set.prompts, hosts.put(places, where))
    parts.append(jax.device_get(decode(params, batch)))
  decoded = jax.tree.map(lambda *x: np.concatenate(x), *parts)
  return of_decoded(
    decoded,
    prompt_set,
    config=config,
    vocabulary=vocabulary,
    num_texts=num_texts,
    markers=markers,
    answer_of=answer_of,
  )


def batches(config: EvaluationConfig, num_prompts: int) -> np.ndarray:
  """Places in a split of the prompts decoded together, i32[batches, G].

  The last batch repeats prompts to keep its shape.
  """
  wanted = min(config.num_prompts, num_prompts)
  size = config.batch_prompts
  places = np.arange(-(-wanted // size) * size, dtype=np.int32)
  return (places % wanted).reshape(-1, size)


def of_decoded(
  decoded: Decoded,
  prompt_set: prompts_lib.PromptSet,
  *,
  config: EvaluationConfig,
  vocabulary: vocabulary_lib.Vocabulary,
  num_texts: int = 5,
  markers: Sequence[str] = (),
  answer_of: Callable[[str], str | None] | None = None,
) -> Evaluation:
  """Sums up what was decoded of the prompts of `batches`, in their order.

  Args:
    decoded: on the host, of at least the prompts wanted; more are repetitions.
    prompt_set: the split.
    config: see `evaluate`, as for the others.
    vocabulary: of the task.
    num_texts: samples returned as text.
    markers: words to count in the responses.
    answer_of: the answer in a response.
  """
  wanted = min(config.num_prompts, prompt_set.num_prompts)
  decoded = jax.tree.map(lambda x: x[:wanted], decoded)
  samples = config.num_generations
  tokens, outcomes = decoded.tokens, decoded.outcomes
  per_problem = _per_problem(decoded, samples)
  if answer_of:
    answers = [
      [answer_of(vocabulary.decode(row)) for row in rows[:samples]]
      for rows in tokens
    ]
    correct = outcomes[:, :samples] == records.OUTCOMES.index("correct")
    majority = pass_at_k.maj_at_k(answers, correct)
    per_problem[f"maj_at_{samples}"] = majority
  metrics = {}
  for name, values in per_problem.items():
    mean, error = pass_at_k.mean_and_error(values)
    metrics |= {name: mean, f"{name}_se": error}
  return Evaluation(
    metrics,
    _texts(tokens, outcomes, prompt_set, vocabulary, num_texts),
    _words(tokens, outcomes, samples, vocabulary, markers),
    per_problem,
  )


def _per_problem(decoded: Decoded, num_samples: int) -> dict[str, np.ndarray]:
  """Figures f64[N] by name; those of samples leave the greedy one out."""
  tokens, outcomes, *_ = decoded
  correct = outcomes == records.OUTCOMES.index("correct")
  sampled = correct[:, :num_samples]
  counts = sampled.sum(axis=1)
  of_samples = lambda x: np.mean(x[:, :num_samples], axis=1)
  unjudged = [records.OUTCOMES.index(name) for name in records.UNJUDGED]
  found = {
    f"pass_at_{k}": pass_at_k.pass_at_k(counts, num_samples, k)
    for k in sorted({1, num_samples})
  } | {
    "greedy": correct[:, num_samples],
    "distinct_correct": [
      len({row.tobytes() for row in rows[right]})
      for rows, right in zip(tokens[:, :num_samples], sampled, strict=True)
    ],
    "entropy": of_samples(decoded.entropies),
    "parsed": 1.0 - of_samples(outcomes == records.OUTCOMES.index("unparsed")),
    "length": of_samples(decoded.lengths),
    "cut_off": 1.0 - of_samples(decoded.finished),
    # Counted as wrong above, which is as well as one can say.
    "unjudged": of_samples(np.isin(outcomes, unjudged)),
  }
  return {name: np.asarray(x, np.float64) for name, x in found.items()}


def _words(tokens, outcomes, num_samples, vocabulary, markers):
  """Of the sampled responses; the greedy one is another policy's."""
  if not markers:
    return {}
  correct = outcomes[:, :num_samples] == records.OUTCOMES.index("correct")
  rows = tokens[:, :num_samples].reshape(-1, tokens.shape[-1])
  return verbalization.text_metrics(
    rows, correct.reshape(-1), vocabulary, markers
  )


def _texts(tokens, outcomes, prompt_set, vocabulary, num_texts):
  prompts = jax.device_get(
    (prompt_set.prompts.prompt_tokens, prompt_set.prompts.prompt_mask)
  )
  return [
    {
      "prompt": vocabulary.text(prompts[0][i][prompts[1][i] > 0]),
      "completion": vocabulary.decode(tokens[i, 0]),
      "outcome": records.OUTCOMES[outcomes[i, 0]],
    }
    for i in range(min(num_texts, len(tokens)))
  ]
