"""The pure functions that a run is made of, before anything is compiled.

`programs` compiles each of them for a mesh, with the host between them;
`lockstep` puts all of a step into one program.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlvr_jax import collect as collect_lib
from rlvr_jax import curriculum as curriculum_lib
from rlvr_jax import evaluation
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import keys
from rlvr_jax import names
from rlvr_jax import optimizers
from rlvr_jax import partition_head
from rlvr_jax import records
from rlvr_jax import rewards
from rlvr_jax import settings
from rlvr_jax import state as state_lib
from rlvr_jax import teaching
from rlvr_jax import token_columns
from rlvr_jax import update
from rlvr_jax import verbalization
from rlvr_jax import warm_start
from rlvr_jax.data import tasks
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import refill
from rlvr_jax.rollouts import teacher as teacher_lib

Verify = Callable[..., jax.Array]


class Judged(NamedTuple):
  """Sampling and what follows it, a verdict apart.

  Attributes:
    sample: draws rollouts.
    finish: (rollouts, outcomes i32[B]) -> what is wanted of them.
  """

  sample: Callable[..., records.RolloutBatch]
  finish: Callable[[records.RolloutBatch, jax.Array], Any]

  def by(self, verify: Verify) -> Callable[..., Any]:
    """Both in one function, with a verifier on device between them."""

    def judged(*x):
      rollouts = self.sample(*x)
      return self.finish(rollouts, rewards.device_outcomes(rollouts, verify))

    return judged


class Pieces(NamedTuple):
  """What a run is made of; see `programs.Programs` for what is not said here.

  Attributes:
    init_params: () -> parameters, boxed with their logical axes.
    warm_state: parameters -> TrainState of the supervised phase.
    train_state: (parameters, initial value of a head) -> TrainState of RL.
    demonstrations: (prompt set, seed, step) -> rollouts to imitate.
    hinted_demonstrations: likewise, or None.
    imitate: (state, rollouts, None) -> (state, metrics).
    embed: (params, prompts of a split, padded to a multiple) -> embeddings, or
      None.
    pool_size: candidates that a step samples from; 0 for none.
    measure: (params, seed, step, PromptBatch) -> (Measured, metrics).
    plan: (state, prompts, measured, round) -> (Plan, Replay, metrics).
    collect: (params, seed, step, PromptBatch) -> (rollouts, metrics).
    merge: see `refill.merge`.
    teach: (state, rollouts) -> (rollouts, metrics), or None.
    look: (state, rollouts) -> tokens of some rows, or None.
    train_step: (state, rollouts, replayed) -> (state, metrics).
    decode: (params, PromptBatch) -> what an evaluation sums up.
  """

  init_params: Callable[..., Any]
  warm_state: Callable[..., records.TrainState]
  train_state: Callable[..., records.TrainState]
  demonstrations: Callable[..., records.RolloutBatch]
  hinted_demonstrations: Callable[..., records.RolloutBatch] | None
  imitate: Callable[..., Any]
  embed: Callable[..., jax.Array] | None
  pool_size: int
  measure: Judged
  plan: Callable[..., Any]
  collect: Judged
  merge: Callable[..., Any]
  teach: Callable[..., Any] | None
  look: Callable[..., Any] | None
  train_step: Callable[..., Any]
  decode: Judged


def make_pieces(
  experiment: experiment_lib.Experiment,
  task: tasks.Task,
  model: transformer.Transformer,
  constrain: Callable[[Any], Any] = lambda rows: rows,
) -> Pieces:
  """The functions of an experiment.

  Args:
    experiment: what is run.
    task: its data; only what is known before compiling is read.
    model: of `run.model`.
    constrain: spreads rows over the devices.

  Raises:
    errors.UserError: if there are fewer prompts than a step takes, or fewer
      tokens than the task is written with.
  """
  run, method, _ = experiment
  _check_sizes(run, task)
  vocabulary = task.vocabulary
  curriculum = experiment_lib.make_curriculum(experiment)
  warm_optimizer = optimizers.make_optimizer(run.warm_start.optimizer)
  ends = dict(stop_ids=vocabulary.stop_ids, pad_id=vocabulary.pad_id)
  sample = functools.partial(collect_lib.sample, model=model, **ends)
  markers = verbalization.token_table(run.epistemic, vocabulary)
  suppressed = None
  if run.evaluation.suppresses_markers:
    suppressed = verbalization.suppressing(markers)
  teach = hinted = embed = look = None
  if run.teacher:
    teach = teaching.make_teach(
      run, method, model, vocabulary, constrain, task.prompt_tail
    )
  if run.warm_start.hints:
    hinted = functools.partial(
      warm_start.hinted_demonstrations,
      batch_size=run.warm_start.batch_size,
      config=run.warm_start.hints,
      pieces=teacher_lib.pieces_of(
        run.teacher, vocabulary.encode, run.data.prompt_tokens
      ),
      prompt_tokens=run.teacher.prompt_tokens,
      **ends,
    )
  if curriculum.head and curriculum.head.reads_prompts:
    embed = functools.partial(
      partition_head.embed_all,
      model,
      pooling=run.log_partition.pooling,
      chunk=run.prompts_per_step,
    )
  learning = dict(
    model=model,
    method=method,
    config=run.updates,
    temperature=run.rollout.temperature,
    head=curriculum.head,
  )
  if run.report.token_prompts:
    look = token_columns.make_look(
      functools.partial(update.first_fields, **learning), method, run.report
    )
  probed = dataclasses.replace(
    run.rollout,
    num_generations=run.candidates.num_generations
    or run.rollout.num_generations,
  )
  return Pieces(
    init_params=lambda: transformer.init_params(
      run.model, keys.stream_key(run.seed, "init")
    ),
    warm_state=lambda params: state_lib.around(
      params, run.seed, warm_optimizer
    ),
    train_state=functools.partial(
      _train_state, experiment, task.train.num_prompts
    ),
    demonstrations=functools.partial(
      warm_start.demonstrations,
      batch_size=run.warm_start.batch_size,
      pad_id=vocabulary.pad_id,
    ),
    hinted_demonstrations=hinted,
    imitate=functools.partial(
      update.train_step,
      model=model,
      method=warm_start.IMITATION,
      optimizer=warm_optimizer,
      config=update.UpdateConfig(),
    ),
    embed=embed,
    pool_size=run.candidates.num_prompts * bool(run.candidates.num_generations),
    measure=Judged(
      functools.partial(sample, config=probed, stream="probe"),
      collect_lib.measured,
    ),
    plan=functools.partial(_plan, run.refill, curriculum),
    collect=Judged(
      functools.partial(sample, config=run.rollout),
      functools.partial(collect_lib.judged, marker_table=markers),
    ),
    merge=refill.merge,
    teach=teach,
    look=look,
    train_step=functools.partial(
      update.train_step,
      **learning,
      optimizer=optimizers.make_optimizer(run.optimizer),
      observe=functools.partial(_observe, run),
    ),
    decode=Judged(
      evaluation.make_sample(
        model,
        run.evaluation,
        run.rollout.completion_tokens,
        vocabulary,
        run.seed,
        suppressed,
      ),
      evaluation.summed_up,
    ),
  )


def device_verifier(run: experiment_lib.Run) -> Verify:
  """The verifier of a run that judges token ids.

  Raises:
    errors.UserError: if there is none of that name.
  """
  return names.resolve("config.data.verifier", run.data.verifier, rewards)


def _check_sizes(run: experiment_lib.Run, task: tasks.Task) -> None:
  num_prompts, size = task.train.num_prompts, task.vocabulary.vocab_size
  settings.require(
    run.prompts_per_step <= num_prompts,
    f"config.prompts_per_step is {run.prompts_per_step}, but there are"
    f" {num_prompts} training prompts: lower it",
  )
  settings.require(
    size <= run.model.vocab_size,
    f"config.model.vocab_size is {run.model.vocab_size}, but {run.data.name} is"
    f" written with {size} tokens: raise it",
  )


def _train_state(experiment, num_prompts: int, params, initial):
  return state_lib.new_state(experiment, params, num_prompts, initial)


def _plan(config: refill.RefillConfig, curriculum, *x):
  chosen, replay, metrics = curriculum_lib.plan(*x, curriculum=curriculum)
  if config.max_rounds > 1:
    # As of the first round, so that `merge` is one program for all rounds.
    metrics |= {"rollout/rounds": jnp.ones(())}
    metrics |= {"rollout/discarded_tokens": jnp.zeros(())}
  return chosen, replay, metrics


def _observe(run: experiment_lib.Run, state, rollouts) -> records.TrainState:
  state = curriculum_lib.observe(state, rollouts, replay=run.replay)
  return teacher_lib.follow(state, run.teacher)
