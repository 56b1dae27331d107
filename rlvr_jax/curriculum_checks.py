"""What a curriculum's settings have to do with each other, in sentences."""

from typing import Any

from rlvr_jax import binding
from rlvr_jax import curriculum
from rlvr_jax import objective as objective_lib
from rlvr_jax import settings

# Fields of a batch that replayed rows do not bring along.
_FRESH_FIELDS = (
  "sampler_logprobs",
  "log_kept_mass",
  "frozen_logprobs",
  "frozen_entropies",
  "frozen_mean_logprobs",
  "finished",
  "decode_steps",
  "outcomes",
)


def check(
  run: Any,
  method: objective_lib.Objective,
  select: binding.Bound,
  how: curriculum.Curriculum,
) -> None:
  """Head, selection, replay and dynamic sampling against each other.

  Args:
    run: an `experiment.Run`.
    method: the bound objective.
    select: the bound function of `data.selection`.
    how: the curriculum made of them.

  Raises:
    errors.UserError: one sentence that names the key, the value and the
      remedy.
  """
  head, wanted = run.log_partition, objective_lib.needed_fields(method)
  settings.require(
    bool(head) == ("log_partition" in wanted),
    "config.log_partition is missing, but the objective names log_partition:"
    " give it a block, or name another field for the keyword"
    if not head
    else "config.log_partition describes a head that nothing trains: name"
    " log_partition in the objective, or remove the block",
  )
  settings.require(
    not head or "inv_temp" in method.scalars,
    "config.scalars.inv_temp is missing: a log-partition head needs kappa",
  )
  candidates = run.candidates
  settings.require(
    not select.reads(["accuracy_estimates"]) or how.estimates,
    f"config.selection.name is {select.name!r}, which reads accuracy"
    " estimates, and there are none: give config.log_partition a head that"
    " does not read live embeddings, or set config.candidates.num_generations",
  )
  settings.require(
    not run.replay.capacity or how.head_estimates,
    f"config.replay.capacity is {run.replay.capacity}, but no head estimates"
    " accuracy before sampling: give config.log_partition one that does not"
    " read live embeddings, or set capacity to 0",
  )
  settings.require(
    candidates.num_generations == 0
    or min(candidates.num_generations, candidates.num_prompts) > 0,
    f"config.candidates.num_generations is {candidates.num_generations} and"
    f" num_prompts is {candidates.num_prompts}: to sample from candidates, set"
    " both to 1 or more",
  )
  settings.require(
    not candidates.num_prompts or candidates.num_prompts >= how.batch_size,
    f"config.candidates.num_prompts is {candidates.num_prompts}, fewer than"
    f" the {how.batch_size} prompts of a step: raise it, or set 0 for all",
  )
  settings.require(
    run.refill.max_rounds == 1 or not select.reads(["accuracy_estimates"]),
    f"config.refill.max_rounds is {run.refill.max_rounds}, but"
    f" {select.name} would choose the same prompts again: set it to 1, or"
    " config.selection.name to uniform",
  )
  chosen_by = select.reads(["accuracy_estimates"]) or run.replay.capacity
  if head and chosen_by and not candidates.num_generations:
    _check_raw_rewards(run, method)
  if run.replay.capacity:
    _check_replay(run, method)


def _check_raw_rewards(run, method: objective_lib.Objective) -> None:
  """Refuses what would make the head estimate something else."""
  if run.log_partition.allow_shaped:
    return
  parts = sum(objective_lib.functions(method).values(), ())
  fed = [part for part in parts if part.reads(["log_partition"])]
  for part in fed:
    name = part.fields.get("rewards", "rewards")
    shaped = [p.name for p in method.reward_shaping]
    if name == "rewards" and shaped:
      name = f"rewards shaped by {', '.join(shaped)}"
    settings.require(
      name in ("rewards", "is_correct"),
      f"{part.name} fits log_partition to {name}, which is then no accuracy to"
      " choose prompts by: give it rewards = 'is_correct', or set"
      " config.log_partition.allow_shaped = True",
    )


def _check_replay(run, method: objective_lib.Objective) -> None:
  """Replayed rows come alone, and with few fields."""
  parts = sum(objective_lib.functions(method).values(), ())
  for part in parts:
    settings.require(
      "group_ids" not in part.field_names,
      f"{part.name} compares the samples of a prompt, but config.replay adds"
      " rows that come alone: set config.replay.capacity to 0",
    )
    for name in _FRESH_FIELDS:
      settings.require(
        name not in part.field_names,
        f"{part.name} reads {name}, which replayed rows lack: set"
        " config.replay.capacity to 0",
      )
  pieces = run.updates.num_minibatches * run.updates.num_micro_batches
  pieces *= run.mesh.data * run.mesh.fsdp
  settings.require(
    run.replay.replay_rows % pieces == 0,
    f"config.replay.replay_rows is {run.replay.replay_rows}, which minibatches,"
    f" micro-batches and row shards ({pieces} pieces) do not divide: choose a"
    f" multiple of {pieces}",
  )
