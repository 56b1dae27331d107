"""The compiled functions of a run, with every sharding declared."""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
import optax

from rlvr_jax import checkpoints
from rlvr_jax import collect as collect_lib
from rlvr_jax import evaluation
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import keys
from rlvr_jax import names
from rlvr_jax import objective as objective_lib
from rlvr_jax import optimizers
from rlvr_jax import records
from rlvr_jax import rewards
from rlvr_jax import sharding
from rlvr_jax import update
from rlvr_jax import warm_start
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import selection
from rlvr_jax.data import tasks
from rlvr_jax.models import transformer


class Phase(NamedTuple):
  """A train state's life: make it, name its shape, restore it.

  Attributes:
    fresh: () -> TrainState with new parameters.
    adopt: parameters -> TrainState at step 0 around them.
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
    imitate: (state, rollouts) -> (state, metrics); donates state.
    train: state of the RL phase.
    next_prompts: (prompts of a split, seed, step) -> PromptBatch.
    collect: (params, seed, step, PromptBatch) -> (rollouts, metrics).
    train_step: (state, rollouts) -> (state, metrics); donates state.
    take: (prompts of a split, indices) -> PromptBatch.
    decode: (params, PromptBatch) -> what an evaluation sums up.
    task: data on device.
  """

  warm_start: Phase
  demonstrations: Callable[..., Any]
  imitate: Callable[..., Any]
  train: Phase
  next_prompts: Callable[..., Any]
  collect: Callable[..., Any]
  train_step: Callable[..., Any]
  take: Callable[..., Any]
  decode: Callable[..., Any]
  task: tasks.Task


def make_programs(
  experiment: experiment_lib.Experiment,
  task: tasks.Task,
  mesh: jax.sharding.Mesh,
) -> Programs:
  """Everything that a run compiles, on the devices of a mesh.

  Raises:
    errors.UserError: if the verifier is unknown.
  """
  run, method = experiment
  model = transformer.Transformer(run.model)
  verify = names.resolve("config.data.verifier", run.data.verifier, rewards)
  vocabulary = task.vocabulary
  whole, rows = sharding.replicated(mesh), sharding.row_sharding(mesh)

  warm_optimizer = optimizers.make_optimizer(run.warm_start.optimizer)
  optimizer = optimizers.make_optimizer(run.optimizer)
  warm_phase = _phase(run, warm_start.IMITATION, warm_optimizer, mesh)
  phase = _phase(run, method, optimizer, mesh)
  params = jax.tree.map(lambda x: x.sharding, phase.abstract.params)

  def compiled_update(phase: Phase, **settings):
    state = jax.tree.map(lambda x: x.sharding, phase.abstract)
    return jax.jit(
      functools.partial(update.train_step, model=model, **settings),
      in_shardings=(state, rows),
      out_shardings=(state, whole),
      donate_argnums=0,
    )

  # What picks rows is a program of its own, so that the rows enter the next
  # one already spread over the devices.
  picks = functools.partial(jax.jit, in_shardings=whole, out_shardings=rows)
  return Programs(
    warm_start=warm_phase,
    demonstrations=picks(
      functools.partial(
        warm_start.demonstrations,
        batch_size=run.warm_start.batch_size,
        pad_id=vocabulary.pad_id,
      )
    ),
    imitate=compiled_update(
      warm_phase,
      method=warm_start.IMITATION,
      optimizer=warm_optimizer,
      config=update.UpdateConfig(),
    ),
    train=phase,
    next_prompts=picks(
      functools.partial(selection.next_prompts, batch_size=run.prompts_per_step)
    ),
    collect=jax.jit(
      functools.partial(
        collect_lib.collect,
        model=model,
        verify=verify,
        config=run.rollout,
        eos_id=vocabulary.eos_id,
        pad_id=vocabulary.pad_id,
      ),
      in_shardings=(params, whole, whole, rows),
      out_shardings=(rows, whole),
    ),
    train_step=compiled_update(
      phase,
      method=method,
      optimizer=optimizer,
      config=run.updates,
      temperature=run.rollout.temperature,
    ),
    take=picks(prompts_lib.take),
    decode=jax.jit(
      evaluation.make_decode(
        model,
        verify,
        run.evaluation,
        run.rollout.completion_tokens,
        vocabulary,
        run.seed,
      ),
      in_shardings=(params, rows),
      out_shardings=whole,
    ),
    task=jax.device_put(task._replace(vocabulary=None), whole)._replace(
      vocabulary=vocabulary
    ),
  )


def _phase(
  run: experiment_lib.Run,
  method: objective_lib.Objective,
  optimizer: optax.GradientTransformation,
  mesh,
) -> Phase:
  has_reference = "ref_logprobs" in objective_lib.needed_fields(method)

  def boxed_state(params: Any) -> records.TrainState:
    return records.TrainState(
      step=jnp.zeros((), jnp.int32),
      seed=jnp.asarray(run.seed, jnp.int32),
      params=params,
      opt_state=optimizer.init(params),
      # What RL starts from.
      ref_params=params if has_reference else None,
    )

  def boxed_fresh() -> records.TrainState:
    key = keys.stream_key(run.seed, "init")
    return boxed_state(transformer.init_params(run.model, key))

  boxed = jax.eval_shape(boxed_fresh)
  shardings = sharding.boxed_shardings(mesh, boxed)
  return Phase(
    fresh=jax.jit(lambda: nn.unbox(boxed_fresh()), out_shardings=shardings),
    adopt=jax.jit(
      boxed_state,
      in_shardings=(shardings.params,),
      out_shardings=shardings,
    ),
    abstract=checkpoints.abstract(nn.unbox(boxed), shardings),
  )
