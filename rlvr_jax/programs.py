"""The compiled functions of a run, with every sharding declared."""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp

from rlvr_jax import checkpoints
from rlvr_jax import collect as collect_lib
from rlvr_jax import consistency
from rlvr_jax import curriculum as curriculum_lib
from rlvr_jax import evaluation
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import hosts
from rlvr_jax import keys
from rlvr_jax import names
from rlvr_jax import optimizers
from rlvr_jax import partition_head
from rlvr_jax import records
from rlvr_jax import rewards
from rlvr_jax import settings
from rlvr_jax import sharding
from rlvr_jax import state as state_lib
from rlvr_jax import teaching
from rlvr_jax import update
from rlvr_jax import verbalization
from rlvr_jax import warm_start
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import tasks
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import refill
from rlvr_jax.rollouts import sampler
from rlvr_jax.rollouts import teacher as teacher_lib


class Phase(NamedTuple):
  """A train state's life: make it, name its shape, restore it.

  Attributes:
    fresh: () -> TrainState with new parameters.
    adopt: (parameters, initial value of a log-partition head) -> TrainState
      at step 0 around them.
    abstract: shapes and shardings, to restore a checkpoint into.
  """

  fresh: Callable[[], records.TrainState]
  adopt: Callable[[Any], records.TrainState]
  abstract: records.TrainState


class Programs(NamedTuple):
  """What a run calls; all of it compiled on first use.

  Attributes:
    warm_start: state of the supervised phase.
    demonstrations: (prompt set, seed, step) -> rollouts to imitate.
    hinted_demonstrations: the same behind a teacher's prompts; None without
      such.
    imitate: (state, rollouts) -> (state, metrics); donates state.
    train: state of the RL phase.
    embed: (params, prompts of a split) -> what the log-partition head reads of
      them; None if it reads nothing before sampling.
    embeddings: shape and sharding of that.
    pool: (prompts, seed, step, number) -> candidates to sample from.
    pool_size: how many of them a step samples from; 0 for none.
    measure: (params, seed, step, PromptBatch) -> (Measured, metrics).
    plan: (state, prompts, measured, round) -> (Plan, Replay, metrics).
    collect: (params, seed, step, PromptBatch) -> (rollouts, metrics).
    merge: see `refill.merge`.
    teach: (state, rollouts) -> (rollouts with a teacher's view, metrics); None
      without a teacher.
    train_step: (state, rollouts, replayed) -> (state, metrics); donates state.
    take: (prompts of a split, indices) -> PromptBatch.
    decode: (params, PromptBatch) -> what an evaluation sums up.
    outcomes: (rollouts) -> what a verifier on device says, i32[B]; None for one
      of texts.
    layout_gaps: (params, rollouts) -> see `consistency.layout_gaps`.
    task: data on device.
  """

  warm_start: Phase
  demonstrations: Callable[..., Any]
  hinted_demonstrations: Callable[..., Any] | None
  imitate: Callable[..., Any]
  train: Phase
  embed: Callable[..., Any] | None
  embeddings: jax.ShapeDtypeStruct | None
  pool: Callable[..., Any]
  pool_size: int
  measure: Callable[..., Any]
  plan: Callable[..., Any]
  collect: Callable[..., Any]
  merge: Callable[..., Any]
  teach: Callable[..., Any] | None
  train_step: Callable[..., Any]
  take: Callable[..., Any]
  decode: Callable[..., Any]
  outcomes: Callable[..., Any] | None
  layout_gaps: Callable[..., Any]
  task: tasks.Task


def make_programs(
  experiment: experiment_lib.Experiment,
  task: tasks.Task,
  mesh: jax.sharding.Mesh,
  judge_texts: Callable[[records.RolloutBatch], Any] | None = None,
) -> Programs:
  """Everything that a run compiles, on the devices of a mesh.

  Args:
    experiment: what is run.
    task: its data.
    mesh: the devices.
    judge_texts: of `verification.opened`, where the verifier reads texts.

  Raises:
    errors.UserError: if the verifier is unknown, there are fewer prompts than
      a step takes, or fewer tokens than the task is written with.
  """
  run, method, _ = experiment
  num_prompts = task.train.num_prompts
  settings.require(
    run.prompts_per_step <= num_prompts,
    f"config.prompts_per_step is {run.prompts_per_step}, but there are"
    f" {num_prompts} training prompts: lower it",
  )
  model = transformer.Transformer(run.model, sharding.partition(mesh))
  verify = None
  if not judge_texts:
    verify = names.resolve("config.data.verifier", run.data.verifier, rewards)
  vocabulary = task.vocabulary
  settings.require(
    vocabulary.vocab_size <= run.model.vocab_size,
    f"config.model.vocab_size is {run.model.vocab_size}, but {run.data.name} is"
    f" written with {vocabulary.vocab_size} tokens: raise it",
  )
  whole, rows = sharding.replicated(mesh), sharding.row_sharding(mesh)
  curriculum = experiment_lib.make_curriculum(experiment)

  warm_optimizer = optimizers.make_optimizer(run.warm_start.optimizer)
  warm_phase = _phase(
    lambda params, initial: state_lib.around(params, run.seed, warm_optimizer),
    run,
    mesh,
  )
  phase = _phase(
    lambda params, initial: state_lib.new_state(
      experiment, params, num_prompts, initial
    ),
    run,
    mesh,
  )
  state_shardings = jax.tree.map(lambda x: x.sharding, phase.abstract)
  params = state_shardings.params

  def compiled_update(phase: Phase, **settings):
    state = jax.tree.map(lambda x: x.sharding, phase.abstract)
    return jax.jit(
      functools.partial(update.train_step, model=model, **settings),
      in_shardings=(state, rows, rows),
      out_shardings=(state, whole),
      donate_argnums=0,
    )

  def judged(sample, finish, inputs, out):
    """Samples, judges and sums up; in one program, if all is on device."""
    if verify:
      return jax.jit(
        lambda *x: finish(
          rollouts := sample(*x), rewards.device_outcomes(rollouts, verify)
        ),
        in_shardings=inputs,
        out_shardings=out,
      )
    sample = jax.jit(sample, in_shardings=inputs, out_shardings=rows)
    finish = jax.jit(finish, in_shardings=rows, out_shardings=out)

    def run_all(*x):
      rollouts = sample(*x)
      return finish(rollouts, judge_texts(rollouts))

    return run_all

  def collect(finish, config: sampler.SamplerConfig, out, **settings):
    sample = functools.partial(
      collect_lib.sample,
      model=model,
      config=config,
      stop_ids=vocabulary.stop_ids,
      pad_id=vocabulary.pad_id,
      **settings,
    )
    return judged(sample, finish, (params, whole, whole, rows), (out, whole))

  # What picks rows is a program of its own, so that the rows enter the next
  # one already spread over the devices.
  picks = functools.partial(jax.jit, in_shardings=whole, out_shardings=rows)
  split = jax.tree.map(lambda _: whole, task.train.prompts)
  embed = embeddings = None
  if curriculum.head and curriculum.head.reads_prompts:
    split = split.replace(embeddings=rows)
    embed = jax.jit(
      functools.partial(
        partition_head.embed_all,
        model,
        pooling=run.log_partition.pooling,
        chunk=run.prompts_per_step,
        multiple=rows.num_devices,
      ),
      in_shardings=(params, whole),
      out_shardings=rows,
    )
    shape = (-(-num_prompts // rows.num_devices) * rows.num_devices,)
    embeddings = jax.ShapeDtypeStruct(
      (*shape, run.model.width), jnp.float32, sharding=rows
    )
  markers = verbalization.token_table(run.epistemic, vocabulary)
  suppressed = None
  if run.evaluation.suppresses_markers:
    suppressed = verbalization.suppressing(markers)
  teach = hinted = None
  if run.teacher:
    teach = jax.jit(
      teaching.make_teach(
        run,
        method,
        model,
        vocabulary,
        lambda x: jax.lax.with_sharding_constraint(x, rows),
        task.prompt_tail,
      ),
      in_shardings=(state_shardings, rows),
      out_shardings=(rows, whole),
    )
  if run.warm_start.hints:
    hinted = picks(
      functools.partial(
        warm_start.hinted_demonstrations,
        batch_size=run.warm_start.batch_size,
        config=run.warm_start.hints,
        pieces=teacher_lib.pieces_of(
          run.teacher, vocabulary.encode, run.data.prompt_tokens
        ),
        prompt_tokens=run.teacher.prompt_tokens,
        stop_ids=vocabulary.stop_ids,
        pad_id=vocabulary.pad_id,
      )
    )

  def observe(state, rollouts) -> records.TrainState:
    state = curriculum_lib.observe(state, rollouts, replay=run.replay)
    return teacher_lib.follow(state, run.teacher)

  def plan(*x):
    chosen, replay, metrics = curriculum_lib.plan(*x, curriculum=curriculum)
    if run.refill.max_rounds > 1:
      # As of the first round, so that `merge` is one program for all rounds.
      metrics |= {"rollout/rounds": jnp.ones(())}
      metrics |= {"rollout/discarded_tokens": jnp.zeros(())}
    return chosen, replay, metrics

  return Programs(
    warm_start=warm_phase,
    demonstrations=picks(
      functools.partial(
        warm_start.demonstrations,
        batch_size=run.warm_start.batch_size,
        pad_id=vocabulary.pad_id,
      )
    ),
    hinted_demonstrations=hinted,
    imitate=compiled_update(
      warm_phase,
      method=warm_start.IMITATION,
      optimizer=warm_optimizer,
      config=update.UpdateConfig(),
    ),
    train=phase,
    embed=embed,
    embeddings=embeddings,
    pool=jax.jit(
      curriculum_lib.pool,
      static_argnums=3,
      in_shardings=(split, whole, whole),
      out_shardings=rows,
    ),
    pool_size=run.candidates.num_prompts * bool(run.candidates.num_generations),
    measure=collect(
      collect_lib.measured,
      dataclasses.replace(
        run.rollout,
        num_generations=run.candidates.num_generations
        or run.rollout.num_generations,
      ),
      whole,
      stream="probe",
    ),
    plan=jax.jit(
      plan,
      in_shardings=(state_shardings, split, whole, whole),
      out_shardings=(rows, whole, whole),
    ),
    collect=collect(
      functools.partial(collect_lib.judged, marker_table=markers),
      run.rollout,
      rows,
    ),
    merge=jax.jit(
      refill.merge,
      in_shardings=(rows, rows, whole, whole),
      out_shardings=(rows, whole),
    ),
    teach=teach,
    train_step=compiled_update(
      phase,
      method=method,
      optimizer=optimizers.make_optimizer(run.optimizer),
      config=run.updates,
      temperature=run.rollout.temperature,
      head=curriculum.head,
      observe=observe,
    ),
    take=picks(prompts_lib.take),
    decode=judged(
      evaluation.make_sample(
        model,
        run.evaluation,
        run.rollout.completion_tokens,
        vocabulary,
        run.seed,
        suppressed,
      ),
      evaluation.summed_up,
      (params, rows),
      whole,
    ),
    outcomes=verify
    and jax.jit(
      lambda rollouts: rewards.device_outcomes(rollouts, verify),
      in_shardings=rows,
      out_shardings=whole,
    ),
    layout_gaps=jax.jit(
      functools.partial(
        consistency.layout_gaps,
        model=model,
        temperature=run.rollout.temperature,
        num_parts=run.updates.num_minibatches * run.updates.num_micro_batches,
      ),
      in_shardings=(params, rows),
      out_shardings=whole,
    ),
    task=_on_device(task, whole),
  )


def _on_device(task: tasks.Task, where: jax.sharding.Sharding) -> tasks.Task:
  """The task with its arrays on all devices; shapes stay shapes."""
  names_of_sets = ("train", "validation", "test", "out_of_domain")
  sets = {name: getattr(task, name) for name in names_of_sets}
  if isinstance(jax.tree.leaves(sets)[0], jax.ShapeDtypeStruct):
    return task
  return task._replace(**hosts.put(sets, where))


def _phase(
  boxed_state: Callable[..., records.TrainState],
  run: experiment_lib.Run,
  mesh: jax.sharding.Mesh,
) -> Phase:
  def boxed_fresh(initial) -> records.TrainState:
    key = keys.stream_key(run.seed, "init")
    return boxed_state(transformer.init_params(run.model, key), initial)

  scalar = jax.ShapeDtypeStruct((), jnp.float32)
  boxed = jax.eval_shape(boxed_fresh, scalar)
  shardings = sharding.boxed_shardings(mesh, boxed)
  return Phase(
    fresh=jax.jit(lambda: nn.unbox(boxed_fresh(0.0)), out_shardings=shardings),
    adopt=jax.jit(
      boxed_state,
      in_shardings=(shardings.params, sharding.replicated(mesh)),
      out_shardings=shardings,
    ),
    abstract=checkpoints.abstract(nn.unbox(boxed), shardings),
  )
