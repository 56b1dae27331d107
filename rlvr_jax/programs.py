"""The compiled functions of a run, with every sharding declared."""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp

from rlvr_jax import checkpoints
from rlvr_jax import curriculum as curriculum_lib
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import hosts
from rlvr_jax import pieces as pieces_lib
from rlvr_jax import records
from rlvr_jax import rewards
from rlvr_jax import sharding
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import tasks
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import threads
from rlvr_jax.soundness import consistency


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
    look: (state, rollouts) -> see `token_columns.make_look`; None where no
      tokens are kept.
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
  look: Callable[..., Any] | None
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
  run = experiment.run
  model = transformer.Transformer(run.model, sharding.partition(mesh))
  whole, rows = sharding.replicated(mesh), sharding.row_sharding(mesh)
  pieces = pieces_lib.make_pieces(
    experiment,
    task,
    model,
    lambda x: jax.lax.with_sharding_constraint(x, rows),
  )
  verify = None if judge_texts else pieces_lib.device_verifier(run)
  warm_phase = _phase(
    lambda params, initial: pieces.warm_state(params), pieces.init_params, mesh
  )
  phase = _phase(pieces.train_state, pieces.init_params, mesh)
  state_shardings = jax.tree.map(lambda x: x.sharding, phase.abstract)
  params = state_shardings.params

  def compiled_update(phase: Phase, step):
    state = jax.tree.map(lambda x: x.sharding, phase.abstract)
    return jax.jit(
      step,
      in_shardings=(state, rows, rows),
      out_shardings=(state, whole),
      donate_argnums=0,
    )

  outcomes = None
  if verify:
    outcomes = jax.jit(
      lambda rollouts: rewards.device_outcomes(rollouts, verify),
      in_shardings=rows,
      out_shardings=whole,
    )
  judge = outcomes or judge_texts
  num_threads = threads.num_threads(run.sampling_threads, run.rollout, mesh)

  def judged(piece: pieces_lib.Judged, inputs, out):
    """Samples, judges and sums up; in one program, if nothing parts them."""
    if verify and num_threads == 1:
      return jax.jit(piece.by(verify), in_shardings=inputs, out_shardings=out)
    sample = jax.jit(piece.sample, in_shardings=inputs, out_shardings=rows)
    sample = threads.on_cores(sample, num_threads)
    finish = jax.jit(piece.finish, in_shardings=rows, out_shardings=out)

    def run_all(*x):
      rollouts = sample(*x)
      return finish(rollouts, judge(rollouts))

    return run_all

  collected = (params, whole, whole, rows)
  # What picks rows is a program of its own, so that the rows enter the next
  # one already spread over the devices.
  picks = functools.partial(jax.jit, in_shardings=whole, out_shardings=rows)
  split = jax.tree.map(lambda _: whole, task.train.prompts)
  embed = embeddings = teach = look = None
  if pieces.embed:
    split = split.replace(embeddings=rows)
    embed = jax.jit(
      functools.partial(pieces.embed, multiple=rows.num_devices),
      in_shardings=(params, whole),
      out_shardings=rows,
    )
    num_rows = -(-task.train.num_prompts // rows.num_devices) * rows.num_devices
    embeddings = jax.ShapeDtypeStruct(
      (num_rows, run.model.width), jnp.float32, sharding=rows
    )
  if pieces.teach:
    teach = jax.jit(
      pieces.teach,
      in_shardings=(state_shardings, rows),
      out_shardings=(rows, whole),
    )
  if pieces.look:
    look = jax.jit(
      pieces.look, in_shardings=(state_shardings, rows), out_shardings=whole
    )
  hinted = pieces.hinted_demonstrations
  return Programs(
    warm_start=warm_phase,
    demonstrations=picks(pieces.demonstrations),
    hinted_demonstrations=hinted and picks(hinted),
    imitate=compiled_update(warm_phase, pieces.imitate),
    train=phase,
    embed=embed,
    embeddings=embeddings,
    pool=jax.jit(
      curriculum_lib.pool,
      static_argnums=3,
      in_shardings=(split, whole, whole),
      out_shardings=rows,
    ),
    pool_size=pieces.pool_size,
    measure=judged(pieces.measure, collected, (whole, whole)),
    plan=jax.jit(
      pieces.plan,
      in_shardings=(state_shardings, split, whole, whole),
      out_shardings=(rows, whole, whole),
    ),
    collect=judged(pieces.collect, collected, (rows, whole)),
    merge=jax.jit(
      pieces.merge,
      in_shardings=(rows, rows, whole, whole),
      out_shardings=(rows, whole),
    ),
    teach=teach,
    look=look,
    train_step=compiled_update(phase, pieces.train_step),
    take=picks(prompts_lib.take),
    decode=judged(pieces.decode, (params, rows), whole),
    outcomes=outcomes,
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
  init_params: Callable[[], Any],
  mesh: jax.sharding.Mesh,
) -> Phase:
  boxed_fresh = lambda initial: boxed_state(init_params(), initial)
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
