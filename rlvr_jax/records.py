"""The records that flow through a step; names and letters as everywhere.

B rollouts, G prompts (groups), P prompt length, T completion length, V
vocabulary, D width, N prompts in the data set. Token ids are the record; text
is a view of them.
"""

from typing import Any

from flax import struct
import jax
import jax.numpy as jnp

from rlvr_jax import outcomes as outcomes_lib


@struct.dataclass
class Mean:
  """A sum and a count that travel apart until the last division.

  Example: Mean(total=6.0, count=4.0).value() == 1.5; merged with
  Mean(2.0, 4.0) it is Mean(8.0, 8.0).

  Attributes:
    total: f32[], sum over whatever is counted.
    count: f32[], how many; 0 gives the value 0, never NaN.
  """

  total: jax.Array
  count: jax.Array

  def merge(self, other: "Mean") -> "Mean":
    return Mean(self.total + other.total, self.count + other.count)

  def value(self) -> jax.Array:
    empty = self.count == 0
    return jnp.where(empty, 0.0, self.total / jnp.where(empty, 1.0, self.count))


@struct.dataclass
class PromptBatch:
  """Prompts of one step.

  Example: for the Countdown prompt "6 1 5:11>" in a bucket of P = 11,
  prompt_tokens[0] ends with the nine ids of that text and begins with two
  pads; prompt_mask[0] = [0, 0, 1, 1, ...]; answers = {"numbers": [[6, 1, 5]],
  "target": [11]}.

  Attributes:
    prompt_tokens: i32[G, P], left-padded.
    prompt_mask: f32[G, P], 1 on real tokens.
    prompt_ids: i32[G], row of the data set; random keys depend on it.
    answers: dict of arrays [G, ...] that the verifier reads.
    embeddings: f32[G, D], standardised, of the initial model; where a
      log-partition head reads them.
    accuracy_estimates: f32[G], what selection took the policy's accuracy on
      the prompt for, not clipped; where there is an estimate.
    explored: f32[G], 1 on prompts that were drawn uniformly.
    hints: what a teacher may be shown of each prompt, by the names of
      `demonstrations.GOLD`: (i32[G, L] right-padded, f32[G, L] mask); where
      one is.
  """

  prompt_tokens: jax.Array
  prompt_mask: jax.Array
  prompt_ids: jax.Array
  answers: dict[str, jax.Array]
  embeddings: jax.Array | None = None
  accuracy_estimates: jax.Array | None = None
  explored: jax.Array | None = None
  hints: dict[str, tuple[jax.Array, jax.Array]] | None = None


@struct.dataclass
class RolloutBatch:
  """Completions with what the sampler, the verifier and credit say of them.

  Row b belongs to prompt b // (B // G): the rows of a prompt lie together, so
  that its keys and values are computed once. A field is None until its room
  has filled it.

  Example: two prompts with two samples each, T = 3, the second sample of the
  first prompt ended early: completion_mask = [[1, 1, 1], [1, 1, 0], ...],
  group_ids = [0, 0, 1, 1], sample_index = [0, 1, 0, 1].

  Attributes:
    prompts: the PromptBatch with G prompts.
    completion_tokens: i32[B, T], right-padded.
    completion_mask: f32[B, T], 1 on generated tokens including the end token.
    group_ids: i32[B], index of the row's prompt in this batch.
    sample_index: i32[B], 0 .. num_generations - 1 within the prompt.
    valid: f32[B], 0 on rows that only fill the shape.
    finished: f32[B], 1 if the end token was sampled.
    decode_steps: f32[B], an equal share of the steps that all decoding slots
      took, idle ones included: what the rows' tokens cost.
    sampler_logprobs: f32[B, T], nats, under the distribution actually sampled
      from (after temperature and truncation).
    log_kept_mass: f32[B, T], log of the probability that truncation kept;
      sampler_logprobs + log_kept_mass is the untruncated log-probability.
    frozen_entropies: f32[B, T], nats, full vocabulary, at the sampling
      temperature, before truncation.
    frozen_mean_logprobs: f32[B, T], mean log-probability over the vocabulary.
    rewards: f32[B], what the objective is fed.
    is_correct: f32[B], the verifier's bit; never a shaped reward.
    outcomes: i32[B], index into `OUTCOMES`.
    old_logprobs: f32[B, T], trainer's weights at rollout time.
    ref_logprobs: f32[B, T], of the frozen reference; None for the run's own,
      which an update scores.
    teacher_logprobs: f32[B, T], nats, of the same tokens under the teacher.
    teacher_entropies: f32[B, T], nats, full vocabulary, of the teacher.
    has_teacher: f32[B], 0 on rows for which there was no demonstration; their
      other teacher fields mean nothing.
    support_ids: i32[B, T, K], candidate tokens of a distillation loss; None
      for the whole vocabulary.
    teacher_support_logprobs: f32[B, T, K], nats, of them under the teacher.
  """

  prompts: PromptBatch
  completion_tokens: jax.Array
  completion_mask: jax.Array
  group_ids: jax.Array
  sample_index: jax.Array
  valid: jax.Array
  finished: jax.Array | None = None
  decode_steps: jax.Array | None = None
  sampler_logprobs: jax.Array | None = None
  log_kept_mass: jax.Array | None = None
  frozen_entropies: jax.Array | None = None
  frozen_mean_logprobs: jax.Array | None = None
  rewards: jax.Array | None = None
  is_correct: jax.Array | None = None
  outcomes: jax.Array | None = None
  old_logprobs: jax.Array | None = None
  ref_logprobs: jax.Array | None = None
  teacher_logprobs: jax.Array | None = None
  teacher_entropies: jax.Array | None = None
  has_teacher: jax.Array | None = None
  support_ids: jax.Array | None = None
  teacher_support_logprobs: jax.Array | None = None


# How a row ended, and the outcomes that are no verdict.
OUTCOMES, UNJUDGED = outcomes_lib.OUTCOMES, outcomes_lib.UNJUDGED


@struct.dataclass
class PromptStats:
  """What selection remembers of N prompts.

  Attributes:
    visits: i32[N], how often each was trained on.
    last_steps: i32[N], step at which it was last; -1 never.
    excess_error: f32[], mean |estimate - measured accuracy| of the last step
      less what counting noise alone gives; infinite before the first.
  """

  visits: jax.Array
  last_steps: jax.Array
  excess_error: jax.Array


@struct.dataclass
class Replay:
  """Correct responses kept for further updates, in C slots.

  Attributes:
    completion_tokens: i32[C, T].
    completion_mask: f32[C, T].
    logprobs: f32[C, T], nats, under the policy that wrote them.
    prompt_ids: i32[C].
    sample_index: i32[C].
    accuracy: f32[C], share of the group's judged samples that was right.
    priority: f32[C], |accuracy - estimate| as of the last look.
    born_step: i32[C], step that generated them.
    filled: f32[C], 0 on empty slots.
  """

  completion_tokens: jax.Array
  completion_mask: jax.Array
  logprobs: jax.Array
  prompt_ids: jax.Array
  sample_index: jax.Array
  accuracy: jax.Array
  priority: jax.Array
  born_step: jax.Array
  filled: jax.Array


@struct.dataclass
class TrainState:
  """All that a run is made of; saved whole, nothing lives outside it.

  Attributes:
    step: i32[], optimizer steps taken on rollouts.
    seed: i32[], run seed; every random draw is a function of it and of the
      coordinates of the draw.
    params: pytree of float32 parameters.
    opt_state: the optimizer's state for them.
    ref_params: the frozen reference, where a method names `ref_logprobs`;
      else None, as are the following where nothing asks for them.
    teacher_params: of a teacher that follows the policy.
    log_partition: parameters of the log-partition head.
    log_partition_opt_state: its optimizer's state.
    prompt_stats: what selection remembers.
    replay: responses kept for further updates.
  """

  step: jax.Array
  seed: jax.Array
  params: Any
  opt_state: Any
  ref_params: Any = None
  teacher_params: Any = None
  log_partition: Any = None
  log_partition_opt_state: Any = None
  prompt_stats: PromptStats | None = None
  replay: Replay | None = None


def fields(record: RolloutBatch) -> dict[str, jax.Array]:
  """The array fields of a batch by name, as objectives see them.

  Beside the filled attributes: `prompt_ids` i32[B], and `frozen_logprobs`
  f32[B, T], the sampler's log-probabilities before truncation, nats.
  """
  filled = {
    name: value
    for name, value in vars(record).items()
    if name != "prompts" and value is not None
  }
  num_rows = record.completion_tokens.shape[0]
  repeat = num_rows // record.prompts.prompt_ids.shape[0]
  filled["prompt_ids"] = jnp.repeat(record.prompts.prompt_ids, repeat)
  if record.sampler_logprobs is not None:
    filled["frozen_logprobs"] = record.sampler_logprobs + record.log_kept_mass
  return filled
