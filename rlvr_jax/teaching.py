"""A run's teacher: checked with the method, and as one function of a step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rlvr_jax import credit
from rlvr_jax import objective as objective_lib
from rlvr_jax import records
from rlvr_jax import settings
from rlvr_jax import verbalization
from rlvr_jax.data import vocabulary as vocabulary_lib
from rlvr_jax.metrics import marker_tokens
from rlvr_jax.metrics import teacher as teacher_metrics
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import demonstrations
from rlvr_jax.rollouts import scoring
from rlvr_jax.rollouts import teacher as teacher_lib

_END_OF_THINKING = "</think>"


def hints(run: Any) -> tuple[str, ...]:
  """What a data set has to tell of its prompts for a run."""
  wanted = [run.teacher.context] if run.teacher else []
  if run.warm_start.hints:
    wanted += run.warm_start.hints.contexts
  return tuple(name for name in demonstrations.GOLD if name in wanted)


def check(run: Any, method: objective_lib.Objective) -> None:
  """What a teacher, a method and a run have to agree on.

  Raises:
    errors.UserError: one sentence that names the key, the value and the
      remedy.
  """
  named = objective_lib.needed_fields(method)
  reads = sorted(named.intersection(teacher_lib.FIELDS))
  config = run.teacher
  if not config:
    settings.require(
      not reads,
      f"the objective names the field {next(iter(reads), '')!r}, which only a"
      " teacher fills: set config.teacher, at least its template and"
      " prompt_tokens",
    )
    settings.require(
      not run.warm_start.hints,
      "config.warm_start.hints needs a teacher's template: set config.teacher,"
      " or take the hints out",
    )
    return
  settings.require(
    bool(reads),
    "config.teacher is set, but no function of the method reads a field of it:"
    f" name one of {', '.join(teacher_lib.FIELDS)}, or take it out",
  )
  settings.require(
    not run.replay.capacity,
    f"config.replay.capacity is {run.replay.capacity}, but replayed rows have"
    " no teacher: set it to 0",
  )
  settings.require(
    config.top_k <= run.model.vocab_size,
    f"config.teacher.top_k is {config.top_k}, but the vocabulary has"
    f" {run.model.vocab_size} tokens: lower it, or set 0 for all of them",
  )
  rows = run.prompts_per_step * run.rollout.num_generations
  settings.require(
    not config.rows_per_pass or rows % config.rows_per_pass == 0,
    f"config.teacher.rows_per_pass is {config.rows_per_pass}, which does not"
    f" divide the {rows} rows of a step: choose a divisor, or 0",
  )
  settings.require(
    config.context != "sibling" or run.rollout.num_generations > 1,
    f"config.rollout.num_generations is {run.rollout.num_generations}, but"
    " config.teacher.context 'sibling' shows another sample of the prompt: set"
    " it to 2 or more",
  )
  demonstrations.make_context(config.context)


def make_teach(
  run: Any,
  method: objective_lib.Objective,
  model: transformer.Transformer,
  vocabulary: vocabulary_lib.Vocabulary,
  constrain: Any,
  tail: tuple[int, ...] | None = (),
) -> Callable[..., Any]:
  """The function (state, rollouts) -> (rollouts with a teacher, metrics).

  Args:
    run: with a teacher.
    method: the bound objective.
    model: the transformer.
    vocabulary: of the task; encodes the template.
    constrain: spreads the rows of one pass over the devices.
    tail: of the task's prompts, see `tasks.Task`.

  Raises:
    errors.UserError: if the prompts do not end alike, the template does not
      fit its bucket, or thinking is to be stripped and its closing tag is no
      token.
  """
  config: teacher_lib.TeacherConfig = run.teacher
  pieces = teacher_lib.pieces_of(
    config, vocabulary.encode, run.data.prompt_tokens
  )
  settings.require(
    not config.strips_thinking or _END_OF_THINKING in vocabulary.symbols,
    f"config.teacher.strips_thinking is True, but {_END_OF_THINKING!r} is not a"
    " token of the vocabulary: set it to False",
  )
  settings.require(
    tail is not None,
    "config.data.prompt.chat is True, but the chat template ends prompts in"
    " several ways, so that a teacher's text has no place: set it to False",
  )
  closing = -1
  if config.strips_thinking:
    closing = vocabulary.id(_END_OF_THINKING)
  context = demonstrations.make_context(config.context)
  table = verbalization.token_table(run.epistemic, vocabulary)
  distils = "support_logprobs" in objective_lib.needed_fields(method)

  def teach(
    state: records.TrainState, rollouts: records.RolloutBatch
  ) -> tuple[records.RolloutBatch, dict[str, jax.Array]]:
    prompts, has_teacher, metrics = teacher_lib.show(
      rollouts,
      context,
      config,
      pieces,
      stop_ids=vocabulary.stop_ids,
      pad_id=vocabulary.pad_id,
      end_of_thinking_id=closing,
      tail=tail,
    )
    support_ids = None
    if distils and config.top_k:
      support_ids = scoring.likeliest_tokens(
        model,
        state.params,
        rollouts.prompts,
        rollouts.completion_tokens,
        config.top_k,
      )
    scores = teacher_lib.score(
      model,
      teacher_lib.params_of(state, config),
      prompts,
      rollouts.completion_tokens,
      has_teacher,
      temperature=run.rollout.temperature,
      rows_per_pass=config.rows_per_pass,
      support_ids=support_ids,
      full_support=distils and not config.top_k,
      constrain=constrain,
    )
    taught = rollouts.replace(
      teacher_logprobs=scores.logprobs,
      teacher_entropies=scores.entropies,
      has_teacher=has_teacher,
      support_ids=support_ids,
      teacher_support_logprobs=scores.support_logprobs,
    )
    return taught, metrics | _metrics(taught, method, state.step, table)

  return teach


def _metrics(rollouts, method, step, table) -> dict[str, jax.Array]:
  """What the teacher thinks of the rollouts; the student is the sampler."""
  fields = records.fields(rollouts)
  inside = rollouts.completion_mask * rollouts.has_teacher[:, None] > 0
  d_hat = fields["frozen_logprobs"] - rollouts.teacher_logprobs
  shared = dict(
    d_hat=jnp.where(inside, d_hat, 0.0),
    has_teacher=rollouts.has_teacher,
    is_correct=rollouts.is_correct,
    completion_mask=rollouts.completion_mask * rollouts.valid[:, None],
  )
  means = teacher_metrics.teacher_means(
    **shared,
    teacher_entropies=rollouts.teacher_entropies,
    teacher_clip=credit.scalars(method, step).get("teacher_clip"),
  )
  if table is not None:
    at_markers = marker_tokens.marker_means(
      **shared, completion_tokens=rollouts.completion_tokens, table=table
    )
    means["teacher/d_hat_epistemic"] = at_markers["teacher/d_hat_epistemic"]
  return {name: mean.value() for name, mean in means.items()}
