"""Whole runs on the device: many seeds and settings in one program.

A step of `train.loop`, with its rewards judged on the device, is one pure
function of the train state. Here it is scanned over the steps between two
evaluations, and goes over columns: runs that differ in seed or in numbers.
Every draw is a function of (seed, step, prompt, sample, position), so a column
is the run that it would be alone, up to rounding.
"""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import curriculum as curriculum_lib
from rlvr_jax import evaluation
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import hosts
from rlvr_jax import pieces as pieces_lib
from rlvr_jax import records
from rlvr_jax import settings
from rlvr_jax import verification
from rlvr_jax import warm_start
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import tasks
from rlvr_jax.laboratory import columns as columns_lib
from rlvr_jax.models import transformer
from rlvr_jax.soundness import numerics

Metrics = dict[str, jax.Array]


class Trained(NamedTuple):
  """Columns of a run of RL.

  Attributes:
    state: their train states, [C, ...].
    embeddings: f32[C, N, D], what a log-partition head reads; None without.
  """

  state: records.TrainState
  embeddings: jax.Array | None


class Lockstep(NamedTuple):
  """C columns and what they call; all of it compiled on first use.

  Attributes:
    columns: the runs.
    task: data of all of them.
    fresh: (None, None) -> warm-start states [C, ...].
    imitate: ((states, going bool[C]), (training split, first step), number of
      steps) -> (states, loss f32[C]); a column that does not go stays as it
      is. Donates its first argument.
    begin: (params [C, ...], training prompts) -> (Trained at step 0, metrics
      f32[C] of the probe that a head starts from).
    train: (Trained, training prompts, number of steps) -> (Trained, metrics
      f32[C, number]); donates its first argument.
    decode: (params, PromptBatch [batches, G, ...]) -> what
      `evaluation.summed_up` gives of all of them, [C, batches * G, ...].
  """

  columns: columns_lib.Columns
  task: tasks.Task
  fresh: Callable[..., records.TrainState]
  imitate: Callable[..., Any]
  begin: Callable[..., Any]
  train: Callable[..., Any]
  decode: Callable[..., evaluation.Decoded]


def check_on_device(run: experiment_lib.Run) -> None:
  """Makes sure that nothing of a run needs the host.

  Raises:
    errors.UserError: if something does.
  """
  settings.require(
    not verification.reads_texts(run.data.verifier),
    f"config.data.verifier is {run.data.verifier!r}, which judges texts on the"
    " host: a run in lockstep stays on the device, so train it by itself",
  )
  settings.require(
    run.pretrained is None,
    "config.pretrained is set, but a run in lockstep starts from its own warm"
    " start: train it by itself",
  )
  settings.require(
    not run.warm_start.source,
    f"config.warm_start.source is {run.warm_start.source!r}, but runs in"
    " lockstep make a warm start of their own for each seed: set it to ''",
  )
  settings.require(
    not hosts.are_several(),
    f"this is one of {jax.process_count()} processes, and a run in lockstep"
    " has one: start it on a single host",
  )


def make_step(
  experiment: experiment_lib.Experiment, task: tasks.Task
) -> Callable[..., tuple[records.TrainState, Metrics]]:
  """The function (state, prompts) -> (state, metrics): a whole step, pure.

  Args:
    experiment: judged on the device; its seed and fractional numbers may be
      traced.
    task: its data; the prompts are those of its training split, with
      embeddings where a log-partition head reads them.
  """
  run = experiment.run
  pieces = _pieces(experiment, task)
  verify = pieces_lib.device_verifier(run)
  collect, measure = pieces.collect.by(verify), pieces.measure.by(verify)

  def step(state: records.TrainState, prompts: records.PromptBatch):
    measured, probed = None, {}
    if pieces.pool_size:
      pool = curriculum_lib.pool(
        prompts, state.seed, state.step, pieces.pool_size
      )
      measured, found = measure(state.params, state.seed, state.step, pool)
      probed = {"rollout/probe_tokens": found["rollout/tokens"]}

    def sampled(sampling_round):
      plan, replay, planned = pieces.plan(
        state, prompts, measured, sampling_round
      )
      found = collect(state.params, state.seed, state.step, plan.prompts)
      return plan, replay, planned, *found

    plan, replay, planned, rollouts, metrics = sampled(jnp.int32(0))
    metrics = planned | metrics
    if run.refill.max_rounds > 1:

      def refilled(carry):
        number, rollouts, metrics = carry
        *_, fresh, found = sampled(number)
        return number + 1, *pieces.merge(rollouts, fresh, metrics, found)

      _, rollouts, metrics = lax.while_loop(
        lambda carry: (carry[0] < run.refill.max_rounds) & ~_is_full(carry[2]),
        refilled,
        (jnp.int32(1), rollouts, metrics),
      )
    before = state.replace(replay=replay)
    taught = {}
    if pieces.teach:
      rollouts, taught = pieces.teach(before, rollouts)
    after, updated = pieces.train_step(before, rollouts, plan.replayed)
    return after, metrics | probed | taught | updated

  return step


def make_lockstep(
  columns: columns_lib.Columns,
  task: tasks.Task,
  layout: columns_lib.Layout,
) -> Lockstep:
  """Everything that columns compile.

  Args:
    columns: the runs.
    task: data of all of them.
    layout: how they are shared out; its devices divide their number.

  Raises:
    errors.UserError: if a run needs the host, or one program cannot hold the
      columns.
  """
  check_on_device(columns.experiment.run)
  columns_lib.check_traceable(columns, functools.partial(_followed, task))

  def spread(function, is_counted: bool = False):
    of_task = functools.partial(function, task)
    return columns_lib.over(columns, layout, of_task, is_counted)

  return Lockstep(
    columns=columns,
    task=task,
    fresh=spread(_fresh),
    imitate=spread(_imitate, is_counted=True),
    begin=spread(_begin),
    train=spread(_train, is_counted=True),
    decode=spread(_decode),
  )


def warm_started(
  lock: Lockstep, report: Callable[[int, np.ndarray], None]
) -> Any:
  """Parameters to start RL from, [C, ...]: `warm_start.run` for each column.

  Args:
    lock: whose columns start alike but for their seeds.
    report: called with the step and pass@1 f64[C] at every validation.

  Raises:
    errors.UserError: if a loss is not finite.
  """
  config = lock.columns.experiment.run.warm_start
  states = lock.fresh(None, None)
  going, step = np.ones(lock.columns.number, bool), 0
  while step < config.num_steps and going.any():
    number = min(config.validate_every_steps, config.num_steps - step)
    shared = lock.task.train, np.int32(step)
    states, losses = lock.imitate((states, going), shared, number)
    step += number
    for loss in jax.device_get(losses)[going]:
      warm_start.check_loss(float(loss), step)
    found = evaluated(lock, states.params, lock.task.validation)
    accuracy = np.array([x.metrics["pass_at_1"] for x in found])
    report(step, accuracy)
    going &= accuracy < config.target_pass_at_1
  return states.params


def trained(
  lock: Lockstep, state: Trained, number: int
) -> tuple[Trained, dict[str, np.ndarray]]:
  """Some steps of RL later.

  Returns:
    The columns, and metrics by name, f32[number, C].

  Raises:
    errors.UserError: if log-probabilities or entropies cannot be.
  """
  state, metrics = lock.train(state, lock.task.train.prompts, number)
  found = {k: np.transpose(x) for k, x in jax.device_get(metrics).items()}
  first = int(jax.device_get(state.state.step)[0]) - number + 1
  for step, beyond in enumerate(found[numerics.IMPOSSIBLE], start=first):
    numerics.check_possible(step, {numerics.IMPOSSIBLE: float(np.max(beyond))})
  return state, found


def evaluated(
  lock: Lockstep, params: Any, prompt_set: prompts_lib.PromptSet
) -> list[evaluation.Evaluation]:
  """What `evaluation.evaluate` finds on a split, of each column."""
  config = lock.columns.experiment.run.evaluation
  places = evaluation.batches(config, prompt_set.num_prompts)
  batches = prompts_lib.take(prompt_set.prompts, places)
  decoded = jax.device_get(lock.decode(params, batches))
  return [
    evaluation.of_decoded(
      jax.tree.map(lambda x, number=number: x[number], decoded),
      prompt_set,
      config=config,
      vocabulary=lock.task.vocabulary,
      num_texts=0,
    )
    for number in range(lock.columns.number)
  ]


def _followed(task: tasks.Task, experiment: experiment_lib.Experiment) -> Any:
  """The shapes of a step, to see whether it can be built."""
  params = nn.unbox(_pieces(experiment, task).init_params())
  prompts = jax.tree.map(jnp.asarray, task.train.prompts)
  begun, _ = _begin(task, experiment, params, prompts)
  return _train(task, experiment, begun, prompts, 1)


def _pieces(experiment, task) -> pieces_lib.Pieces:
  model = transformer.Transformer(experiment.run.model)
  return pieces_lib.make_pieces(experiment, task, model)


def _is_full(metrics: Metrics) -> jax.Array:
  return metrics["rollout/mixed_group_frac"] == 1.0


def _fresh(task, experiment, own, shared) -> records.TrainState:
  del own, shared
  pieces = _pieces(experiment, task)
  return nn.unbox(pieces.warm_state(pieces.init_params()))


def _imitate(task, experiment, own, shared, number: int):
  """Imitates for some steps, if the column goes on."""
  (state, going), (prompt_set, first_step) = own, shared
  pieces, hints = _pieces(experiment, task), experiment.run.warm_start.hints

  def imitated(draw, state):
    batch = draw(prompt_set, state.seed, state.step)
    state, metrics = pieces.imitate(state, batch, None)
    return state, metrics["policy/loss"]

  def step(state, number):
    plain = functools.partial(imitated, pieces.demonstrations)
    if not hints:
      return plain(state)
    hinted = functools.partial(imitated, pieces.hinted_demonstrations)
    # Not of state.step, which differs from column to column: a branch that
    # all take is taken alone.
    return lax.cond(number % hints.every == 0, hinted, plain, state)

  def go(state):
    state, losses = lax.scan(step, state, first_step + jnp.arange(number))
    return state, losses[-1]

  return lax.cond(going, go, lambda state: (state, jnp.zeros(())), state)


def _begin(task, experiment, params, prompts):
  """RL's state at step 0, as `gather` makes it."""
  run, pieces = experiment.run, _pieces(experiment, task)
  head, probed = run.log_partition, {}
  initial = jnp.float32(head.initial if head else 0.0)
  if head and head.probe_prompts:
    seed, step = jnp.int32(run.seed), jnp.int32(0)
    pool = curriculum_lib.pool(prompts, seed, step, head.probe_prompts)
    measure = pieces.measure.by(pieces_lib.device_verifier(run))
    _, found = measure(params, seed, step, pool)
    initial = found["train/accuracy"]
    probed = {
      "log_partition/probe_accuracy": initial,
      "rollout/probe_tokens": found["rollout/tokens"],
    }
  embeddings = pieces.embed and pieces.embed(params, prompts)
  return Trained(pieces.train_state(params, initial), embeddings), probed


def _train(task, experiment, trained: Trained, prompts, number: int):
  step = make_step(experiment, task)
  if trained.embeddings is not None:
    prompts = prompts.replace(embeddings=trained.embeddings)
  state, metrics = lax.scan(
    lambda state, _: step(state, prompts), trained.state, length=number
  )
  return trained._replace(state=state), metrics


def _decode(task, experiment, params, batches) -> evaluation.Decoded:
  decode = _pieces(experiment, task).decode.by(
    pieces_lib.device_verifier(experiment.run)
  )
  found = lax.map(lambda batch: decode(params, batch), batches)
  return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found)
