"""What a step trains on, and what the run remembers of it.

`plan` chooses prompts and replayed rows before sampling; `observe` updates
prompt statistics and the replay buffer after the update. Both are pure; all
they know lies in the train state.
"""

import dataclasses
from typing import Any, NamedTuple

from flax import struct
import jax
import jax.numpy as jnp

from rlvr_jax import binding
from rlvr_jax import credit
from rlvr_jax import keys
from rlvr_jax import masked
from rlvr_jax import objective as objective_lib
from rlvr_jax import partition_head
from rlvr_jax import records
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import replay as replay_lib
from rlvr_jax.metrics import calibration


@dataclasses.dataclass(frozen=True)
class CandidatesConfig:
  """Among which prompts selection chooses, and how it knows them."""

  # Prompts drawn uniformly at each step; 0 takes all of them.
  num_prompts: int = 0
  # Samples of each candidate under the current policy; their share right is
  # its accuracy estimate: an oracle, at its price in generated tokens. 0 takes
  # the log-partition head's estimate.
  num_generations: int = 0


class Curriculum(NamedTuple):
  """How a run chooses.

  Attributes:
    select: a function of `data.selection`, bound.
    batch_size: prompts of a step.
    candidates: among which.
    max_rounds: batches that a step may sample, see `rollouts.refill`.
    replay: what is kept.
    head: what estimates accuracy, if anything does.
    method: for the numbers that the head's values are scaled by.
  """

  select: binding.Bound
  batch_size: int
  candidates: CandidatesConfig
  max_rounds: int
  replay: replay_lib.ReplayConfig
  head: partition_head.Head | None
  method: objective_lib.Objective

  @property
  def estimates(self) -> bool:
    """Whether prompts come with accuracy estimates."""
    return self.candidates.num_generations > 0 or self.head_estimates

  @property
  def head_estimates(self) -> bool:
    """Whether the head's values of all prompts are known before sampling."""
    head = self.head
    return head is not None and (
      head.reads_prompts or head.config.kind != "mlp"
    )


@struct.dataclass
class Plan:
  """What a step trains on.

  Attributes:
    prompts: PromptBatch to sample from.
    replayed: rows of earlier steps, None without replay.
  """

  prompts: records.PromptBatch
  replayed: records.RolloutBatch | None = None


@struct.dataclass
class Measured:
  """Candidates whose accuracy was measured by sampling.

  Attributes:
    prompt_ids: i32[M].
    accuracy: f32[M], share of the judged samples that was right.
  """

  prompt_ids: jax.Array
  accuracy: jax.Array


def new_stats(num_prompts: int) -> records.PromptStats:
  """Statistics of prompts that were never visited."""
  return records.PromptStats(
    visits=jnp.zeros(num_prompts, jnp.int32),
    last_steps=jnp.full(num_prompts, -1, jnp.int32),
    excess_error=jnp.asarray(jnp.inf, jnp.float32),
  )


def plan(
  state: records.TrainState,
  prompts: records.PromptBatch,
  measured: Measured | None,
  sampling_round: jax.Array | int,
  *,
  curriculum: Curriculum,
) -> tuple[Plan, records.Replay | None, dict[str, jax.Array]]:
  """Chooses the prompts of a step, out of all N of a split; pure.

  Args:
    state: of the run.
    prompts: all N prompts, with embeddings where the head reads them.
    measured: candidates that were sampled from, where the curriculum says so.
    sampling_round: i32[], 0 or the number of an additional batch of the step.
    curriculum: how to choose.

  Returns:
    The plan, the replay buffer as of this step, and metrics, f32[] by name.
  """
  step, metrics = state.step, {}
  fields: dict[str, Any] = {
    "seed": state.seed,
    "step": step * curriculum.max_rounds + sampling_round,
    "num_prompts": prompts.prompt_ids.shape[0],
    "batch_size": curriculum.batch_size,
  }
  if state.prompt_stats is not None:
    fields |= vars(state.prompt_stats)
  estimates = None
  if curriculum.estimates:
    estimates, candidates = _estimates(state, prompts, measured, curriculum)
    fields |= {"accuracy_estimates": estimates, "candidates": candidates}
    metrics |= _outlook(estimates, candidates)
  ids, explored = curriculum.select(fields)
  chosen = prompts_lib.take(prompts, ids)
  if estimates is not None:
    chosen = chosen.replace(
      accuracy_estimates=estimates[ids], explored=explored
    )
  if state.replay is None:
    return Plan(chosen), None, metrics
  buffer = replay_lib.refreshed(
    state.replay,
    _head_accuracy(
      state, prompts_lib.take(prompts, state.replay.prompt_ids), curriculum
    ),
    step,
    curriculum.replay,
  )
  replayed, measured_replay = replay_lib.take(
    buffer, prompts, step, curriculum.replay
  )
  return Plan(chosen, replayed), buffer, metrics | measured_replay


def observe(
  state: records.TrainState,
  rollouts: records.RolloutBatch,
  *,
  replay: replay_lib.ReplayConfig,
) -> records.TrainState:
  """The state after it has seen the rollouts of the step before `state.step`.

  Replayed rows are not among them: they are neither counted nor kept anew.
  """
  step = state.step - 1
  if state.replay is not None:
    new = replay_lib.candidates(rollouts, step, replay.insert_rows)
    state = state.replace(replay=replay_lib.put(state.replay, new))
  if state.prompt_stats is not None:
    stats, ids = state.prompt_stats, rollouts.prompts.prompt_ids
    stats = stats.replace(
      visits=stats.visits.at[ids].add(1),
      last_steps=stats.last_steps.at[ids].set(step),
    )
    if rollouts.prompts.accuracy_estimates is not None:
      found = calibration.calibration(rollouts)
      stats = stats.replace(excess_error=found["curriculum/excess_error"])
    state = state.replace(prompt_stats=stats)
  return state


def pool(
  prompts: records.PromptBatch,
  seed: jax.Array,
  step: jax.Array,
  num_prompts: int,
) -> records.PromptBatch:
  """Candidates of a step, drawn without replacement; all, if so many."""
  total = prompts.prompt_ids.shape[0]
  order = jax.random.permutation(keys.stream_key(seed, "probe", step), total)
  # A probe may be larger than a small data set: it then goes round again.
  ids = order[jnp.arange(num_prompts, dtype=jnp.int32) % total]
  return prompts_lib.take(prompts, ids)


def measure(rollouts: records.RolloutBatch) -> Measured:
  """Share right of each prompt's judged samples."""
  ids = rollouts.prompts.prompt_ids
  accuracy = masked.group_mean(
    rollouts.is_correct, rollouts.group_ids, rollouts.valid
  )
  return Measured(ids, accuracy.reshape(ids.shape[0], -1)[:, 0])


def _estimates(state, prompts, measured, curriculum):
  """Accuracy estimates and candidates, f32[N] each."""
  num_prompts = prompts.prompt_ids.shape[0]
  if curriculum.candidates.num_generations:
    ids, accuracy = measured.prompt_ids, measured.accuracy
  elif curriculum.candidates.num_prompts:
    wanted = curriculum.candidates.num_prompts
    some = pool(prompts, state.seed, state.step, wanted)
    ids, accuracy = some.prompt_ids, _head_accuracy(state, some, curriculum)
  else:
    accuracy = _head_accuracy(state, prompts, curriculum)
    # Embeddings may be padded to a number that the devices divide.
    return accuracy[:num_prompts], jnp.ones(num_prompts)
  zeros = jnp.zeros(num_prompts)
  return zeros.at[ids].set(accuracy), zeros.at[ids].set(1.0)


def _head_accuracy(state, prompts, curriculum) -> jax.Array:
  inv_temp = credit.scalars(curriculum.method, state.step)["inv_temp"]
  return curriculum.head.accuracy(state.log_partition, prompts, inv_temp)


def _outlook(estimates, candidates) -> dict[str, jax.Array]:
  """What the estimates say of all candidates."""
  mean = lambda x: masked.masked_mean(x, candidates).value()
  centre = mean(estimates)
  return {
    "curriculum/estimate_mean": centre,
    "curriculum/estimate_std": jnp.sqrt(mean(jnp.square(estimates - centre))),
  }
