"""An experiment file, read whole: typed, bound and checked before a compile."""

from collections.abc import Mapping
import dataclasses
from typing import Any, NamedTuple

from rlvr_jax import binding
from rlvr_jax import boards as boards_lib
from rlvr_jax import checkpoints
from rlvr_jax import curriculum
from rlvr_jax import curriculum_checks
from rlvr_jax import evaluation
from rlvr_jax import hooks
from rlvr_jax import names
from rlvr_jax import objective as objective_lib
from rlvr_jax import optimizers
from rlvr_jax import partition_head
from rlvr_jax import parts
from rlvr_jax import rewards
from rlvr_jax import settings
from rlvr_jax import sharding
from rlvr_jax import teaching
from rlvr_jax import token_columns
from rlvr_jax import update
from rlvr_jax import verbalization
from rlvr_jax import verification
from rlvr_jax import warm_start
from rlvr_jax.data import replay as replay_lib
from rlvr_jax.data import selection
from rlvr_jax.data import tasks
from rlvr_jax.models import configs
from rlvr_jax.rollouts import refill as refill_lib
from rlvr_jax.rollouts import sampler
from rlvr_jax.rollouts import teacher as teacher_lib
from rlvr_jax.soundness import consistency as consistency_lib
from rlvr_jax.soundness import numerics as numerics_lib
from rlvr_jax.verifiers import pool
from rlvr_jax.weights import pretrained as pretrained_lib

# Verifiers that papers' runs are described with; to run one is refused later.
_NOT_BUILT = ("reward_model",)


@dataclasses.dataclass(frozen=True)
class Run:
  """Everything of an experiment but its method.

  The keys of an experiment file; each block is owned by the room that reads
  it.
  """

  # Every random draw is a function of this and of the draw's coordinates.
  seed: int
  # Rollout batches to train on.
  num_steps: int
  # Prompts of a rollout batch.
  prompts_per_step: int
  data: tasks.DataConfig
  model: configs.ModelConfig
  rollout: sampler.SamplerConfig
  optimizer: optimizers.OptimizerConfig
  warm_start: warm_start.WarmStartConfig
  updates: update.UpdateConfig
  evaluation: evaluation.EvaluationConfig
  checkpoint: checkpoints.CheckpointConfig
  mesh: sharding.MeshConfig
  # Programs that sample at once where the mesh is one CPU, each for some of the
  # prompts: a program decodes on one core. With rollout.slots or
  # rollout.rows_per_pass, which count the rows of a program, there is one.
  sampling_threads: int = 2
  # Weights to start from, where it is not with fresh ones.
  pretrained: pretrained_lib.PretrainedConfig | None = None
  # Processes that judge texts, where config.data.verifier reads them.
  verifier_pool: pool.PoolConfig = pool.PoolConfig()
  # Who sees more than the policy does, where a method compares the two.
  teacher: teacher_lib.TeacherConfig | None = None
  # Words of doubt to count.
  epistemic: verbalization.EpistemicConfig | None = None
  # Problems of another kind, only ever evaluated on.
  out_of_domain: tasks.OtherDomainConfig | None = None
  # What a head for log Z(x) is trained with, where a method has one.
  log_partition: partition_head.LogPartitionConfig | None = None
  # Among which prompts `selection` chooses.
  candidates: curriculum.CandidatesConfig = curriculum.CandidatesConfig()
  # Responses kept for further updates.
  replay: replay_lib.ReplayConfig = replay_lib.ReplayConfig()
  # Dynamic sampling.
  refill: refill_lib.RefillConfig = refill_lib.RefillConfig()
  # A loss or gradient that is not finite.
  numerics: numerics_lib.NumericsConfig = numerics_lib.NumericsConfig()
  # What has to agree before the run goes on.
  consistency: consistency_lib.ConsistencyConfig = (
    consistency_lib.ConsistencyConfig()
  )
  # TensorBoard and Weights & Biases.
  boards: boards_lib.BoardsConfig = boards_lib.BoardsConfig()
  # What a report shows that nothing else needs.
  report: token_columns.ReportConfig = token_columns.ReportConfig()


class Experiment(NamedTuple):
  """A run, its method, and the function that chooses its prompts."""

  run: Run
  method: objective_lib.Objective
  select: binding.Bound


def load(config: Mapping[str, Any]) -> Experiment:
  """Types, binds and checks an experiment file.

  Args:
    config: nested dict, as `ConfigDict.to_dict()` gives it.

  Raises:
    errors.UserError: a sentence for everything that is wrong, which names the
      key, the value and the remedy.
  """
  config = pretrained_lib.with_shape(config)
  problems = settings.Problems()
  run_keys = [field.name for field in dataclasses.fields(Run)]
  chosen = [
    names.last(name) for hook in hooks.MANY for name in config.get(hook, ())
  ]
  known = (*run_keys, *hooks.ROOMS, *chosen, "scalars", "selection")
  for key in config:
    problems.require(
      key in known,
      f"config.{key} is read by nothing: {names.did_you_mean(key, known)}",
    )
  run = method = select = None
  with problems.noted():
    blocks = {key: config[key] for key in run_keys if key in config}
    run = settings.typed(Run, blocks, "config")
  with problems.noted():
    method = objective_lib.bind(config)
  with problems.noted():
    select = _bind_selection(config)
  if run:
    _check_run(run, problems)
  problems.check()
  experiment = Experiment(run, method, select)
  _check_method(run, method, problems)
  _check_splits(run, problems)
  with problems.noted():
    curriculum_checks.check(*experiment, make_curriculum(experiment))
  with problems.noted():
    teaching.check(run, experiment.method)
  problems.check()
  return experiment


def _bind_selection(config: Mapping[str, Any]) -> binding.Bound:
  block = config.get("selection", "uniform")
  block = {"name": block} if isinstance(block, str) else dict(block)
  name = block.pop("name", "")
  function = names.resolve("config.selection.name", name, selection)
  return binding.bound(function, **block)


def make_head(run: Run) -> partition_head.Head | None:
  """The log-partition head of a run, if it has one."""
  config = run.log_partition
  if not config:
    return None
  return partition_head.Head(
    config,
    optimizers.make_optimizer(config.optimizer),
    run.optimizer.clip_norm if config.joint_clip else 0.0,
  )


def make_curriculum(experiment: Experiment) -> curriculum.Curriculum:
  """How a run chooses what it trains on."""
  run, method, select = experiment
  return curriculum.Curriculum(
    select=select,
    batch_size=run.prompts_per_step,
    candidates=run.candidates,
    max_rounds=run.refill.max_rounds,
    replay=run.replay,
    head=make_head(run),
    method=method,
  )


def _check_run(run: Run, problems: settings.Problems) -> None:
  """Numbers that blocks cannot bound, and what they have to agree on."""
  positive = {
    "seed": run.seed + 1,
    "num_steps": run.num_steps,
    "prompts_per_step": run.prompts_per_step,
    "sampling_threads": run.sampling_threads,
    "rollout.num_generations": run.rollout.num_generations,
    "rollout.completion_tokens": run.rollout.completion_tokens,
    "data.prompt_tokens": run.data.prompt_tokens,
    "updates.num_minibatches": run.updates.num_minibatches,
    "updates.num_micro_batches": run.updates.num_micro_batches,
    "updates.length_buckets": run.updates.length_buckets,
    "evaluation.every_steps": run.evaluation.every_steps,
    "evaluation.num_prompts": run.evaluation.num_prompts,
    "evaluation.num_generations": run.evaluation.num_generations,
    "evaluation.batch_prompts": run.evaluation.batch_prompts,
    "checkpoint.every_steps": run.checkpoint.every_steps,
    "checkpoint.keep": run.checkpoint.keep,
    "refill.max_rounds": run.refill.max_rounds,
    "mesh.data": run.mesh.data,
    "mesh.fsdp": run.mesh.fsdp,
    "mesh.tensor": run.mesh.tensor,
  }
  for name, value in positive.items():
    least = 0 if name == "seed" else 1
    problems.require(
      value >= 1,
      f"config.{name} is {value - (name == 'seed')}: set it to {least} or more",
    )
  problems.require(
    run.rollout.temperature > 0,
    f"config.rollout.temperature is {run.rollout.temperature}: training needs"
    " samples, set it above 0",
  )
  problems.require(
    not run.evaluation.suppresses_markers or run.epistemic is not None,
    "config.evaluation.suppresses_markers is True, but config.epistemic names"
    " no markers: set its preset or words",
  )
  _check_data(run, problems)


def _check_method(
  run: Run, method: objective_lib.Objective, problems: settings.Problems
) -> None:
  samples = run.rollout.num_generations
  bound = sum(objective_lib.functions(method).values(), ())
  for part in bound:
    problems.require(
      "group_ids" not in part.field_names or samples > 1,
      f"config.rollout.num_generations is {samples}, but {part.name} compares"
      " the samples of a prompt with each other: set it to 2 or more",
    )


def _check_data(run: Run, problems: settings.Problems) -> None:
  verifier = run.data.verifier
  with problems.noted():
    is_built = verifier not in _NOT_BUILT
    if is_built and not verification.reads_texts(verifier):
      names.resolve("config.data.verifier", verifier, rewards)
  problems.require(
    (run.data.files is None) == (run.pretrained is None),
    f"config.data.files is {run.data.files}, and config.pretrained"
    f" {run.pretrained}: a tokenizer is what reads files, so give both or"
    " neither",
  )
  problems.require(
    run.data.files is None or run.warm_start.num_steps == 0,
    f"config.warm_start.num_steps is {run.warm_start.num_steps}, but problems"
    " from files have no demonstrations to imitate: set it to 0",
  )


def _check_splits(run: Run, problems: settings.Problems) -> None:
  devices, head = run.mesh.data * run.mesh.fsdp, run.log_partition
  for name, value in (
    ("prompts_per_step", run.prompts_per_step),
    ("candidates.num_prompts", run.candidates.num_prompts),
    ("rollout.slots", run.rollout.slots),
    ("rollout.rows_per_pass", run.rollout.rows_per_pass),
    ("log_partition.probe_prompts", head.probe_prompts if head else 0),
    ("evaluation.batch_prompts", run.evaluation.batch_prompts),
    ("warm_start.batch_size", run.warm_start.batch_size),
    ("teacher.rows_per_pass", run.teacher.rows_per_pass if run.teacher else 0),
  ):
    problems.require(
      value % devices == 0,
      f"config.{name} is {value}, which the {devices} row shards of the mesh"
      f" (data {run.mesh.data} x fsdp {run.mesh.fsdp}) do not divide: choose"
      f" a multiple of {devices}",
    )
  for name in ("num_heads", "num_kv_heads", "mlp_width", "vocab_size"):
    value = getattr(run.model, name)
    problems.require(
      value % run.mesh.tensor == 0,
      f"config.model.{name} is {value}, which config.mesh.tensor"
      f" ({run.mesh.tensor}) does not divide: choose a divisor",
    )
  problems.require(
    run.prompts_per_step % run.updates.num_minibatches == 0,
    f"config.updates.num_minibatches is {run.updates.num_minibatches}, which"
    f" does not divide prompts_per_step ({run.prompts_per_step}): choose a"
    " divisor",
  )
  prompts = run.prompts_per_step // run.updates.num_minibatches
  samples = run.rollout.num_generations
  problems.require(
    parts.even_division(run.updates.num_micro_batches, prompts, samples)
    is not None,
    f"config.updates.num_micro_batches is {run.updates.num_micro_batches},"
    f" which does not split {prompts} prompts of {samples} samples evenly:"
    f" choose a divisor of {prompts} times one of {samples}",
  )
