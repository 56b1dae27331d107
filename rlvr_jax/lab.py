"""The lab program: methods and seeds compared in minutes, on one device.

python -m rlvr_jax.lab --methods=grpo,rlrt,paced_rl --seeds=8 --out=runs/lab

A method is a file of experiments/, with its variant behind a colon (grpo:chain;
":tiny" if left out). All seeds of a method, and all values of --sweep, train in
lockstep as one program; all methods start from the same warm start of each
seed: that of the first method, or of the first whose warm start shows hints,
where one does. --sweep=optimizer.learning_rate=1e-4,3e-4 makes a row of the
table of each value; several sweeps are crossed.

Writes OUT/table.md, OUT/table.json and OUT/rank.png. Methods are compared where
the one that generated the least has ended, seed by seed; a method stops at the
first evaluation behind the tokens of the first one. What is finished is read
from OUT/METHOD.json; with other settings it is trained anew, and the old file
kept beside it.

--over and --devices say how a device goes over its columns. On a CPU the
default is a simulated device per core, each with its columns in turn, which
`python -m benchmarks.lab` measures beside `train`: 0.057 s of wall time against
0.085 s for a step of one seed of grpo:tiny's size on two cores, where batching
over seeds (vmap) takes 0.067 s.
"""

from collections.abc import Mapping, Sequence
import itertools
import json
import os
import pathlib
import time
from typing import Any

from absl import flags
import jax
import numpy as np

from rlvr_jax import checkpoints
from rlvr_jax import evaluation
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import launch
from rlvr_jax import settings
from rlvr_jax import teaching
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.data import tasks
from rlvr_jax.laboratory import arena
from rlvr_jax.laboratory import columns as columns_lib
from rlvr_jax.laboratory import entries as entries_lib
from rlvr_jax.laboratory import lockstep
from rlvr_jax.metrics import progress as progress_lib
from rlvr_jax.metrics import ranks
from rlvr_jax.metrics import writers
from rlvr_jax.soundness import numerics
from rlvr_jax.soundness import versions

_METHODS = flags.DEFINE_list(
  "methods", [], "Files of experiments/, the first to compare with."
)
_SEEDS = flags.DEFINE_integer("seeds", 8, "How many seeds.", lower_bound=1)
_STEPS = flags.DEFINE_integer(
  "steps", 0, "Steps of RL; 0 takes the variant's.", lower_bound=0
)
_SWEEP = flags.DEFINE_multi_string(
  "sweep", [], "A setting and its values: optimizer.learning_rate=1e-4,3e-4."
)
_SET = flags.DEFINE_multi_string(
  "set", [], "A setting of all methods: evaluation.num_prompts=64."
)
_OUT = flags.DEFINE_string("out", None, "Folder of what comes out.")
_OVER = flags.DEFINE_enum(
  "over", "map", columns_lib.OVER, "A device's columns: in turn, or batched."
)
_DEVICES = flags.DEFINE_integer(
  "devices", 0, "Devices that share the columns; 0 takes all.", lower_bound=0
)

# Of a config: of its first column alone, or moving no number of a run.
_PASSING = {"seed", *workdir_lib.MAY_CHANGE} - {"num_steps"}


def main() -> None:
  """Trains what is not there yet, and compares."""
  # First of all: what looks at jax's devices settles them.
  launch.simulate_devices(_DEVICES.value or os.cpu_count() or 1)
  folder, seeds = launch.folder(_OUT), _SEEDS.value
  swept = entries_lib.crossed(_SWEEP.value)
  changes = entries_lib.changes(_SET.value)
  if _STEPS.value:
    changes["num_steps"] = _STEPS.value
  settings.require(
    bool(_METHODS.value), "--methods is empty: name files of experiments/"
  )
  entries = [
    entries_lib.entry(name, seeds, swept, changes) for name in _METHODS.value
  ]
  entries_lib.check_comparable(entries)
  there = len(jax.devices())
  settings.require(
    _DEVICES.value <= there,
    f"--devices is {_DEVICES.value}, but there are {there}: lower it",
  )
  layout = columns_lib.Layout(_OVER.value, _DEVICES.value or there)
  folder.mkdir(parents=True, exist_ok=True)
  report = compare(entries, seeds, folder, layout, progress_lib.Progress())
  print(arena.table(report))
  print(f"\ntable: {folder / 'table.md'}\npicture: {folder / 'rank.png'}")


def compare(
  entries: Sequence[entries_lib.Entry],
  seeds: int,
  folder: pathlib.Path,
  layout: columns_lib.Layout,
  progress: progress_lib.Progress,
) -> dict[str, Any]:
  """The report of `arena.compared`, written to the folder as well."""
  params, made_by = warm_parameters(entries, seeds, folder, layout, progress)
  curves, budget = [], None
  for found in entries:
    held = finished(found, made_by, budget, folder, progress)
    if held is None:
      held = trained(found, params, budget, folder, layout, progress)
      held |= identity(found, made_by) | {"versions": versions.here()}
      writers.write_json(file_of(found, folder), held)
    curves += curves_of(found, held)
    budget = curves[0].tokens[-1]
  report = arena.compared(curves)
  writers.write_json(folder / "table.json", report)
  (folder / "table.md").write_text(arena.table(report) + "\n")
  of_methods = report["methods"].items()
  ranks.draw_ranks(
    {name: x["ranks"] for name, x in of_methods},
    {name: x["rank"] for name, x in of_methods},
    folder / "rank.png",
    f"pass@1 at equal tokens, {seeds} seeds",
  )
  return report


def warm_parameters(
  entries: Sequence[entries_lib.Entry],
  seeds: int,
  folder: pathlib.Path,
  layout: columns_lib.Layout,
  progress: progress_lib.Progress,
) -> tuple[Any, dict[str, Any]]:
  """What all methods start from, [S, ...], and the settings that made it."""
  source = entries_lib.warm_start_of(entries)
  made_by = entries_lib.flat(source.config, entries_lib.WARM_START)
  made_by |= {"seeds": seeds}
  run = source.experiments[0].run
  lock = locked(source.experiments[:seeds], folder, layout)
  shapes = jax.eval_shape(lock.fresh, None, None).params
  place = folder / workdir_lib.WARM_START
  if place.exists():
    with checkpoints.Checkpoints(place, 1) as saved:
      if saved.latest_step() == 0 and saved.meta(0) == made_by:
        like = jax.tree.map(
          lambda x: np.zeros((seeds, *x.shape[1:]), x.dtype), shapes
        )
        return saved.restore(0, {"params": like})["params"], made_by
    progress.say(f"{place} is of other settings: kept as {_set_aside(place)}")

  def report(step: int, accuracy: np.ndarray) -> None:
    text = f"pass@1 {accuracy.min():.3f} to {accuracy.max():.3f}"
    progress.update("warm start", step, run.warm_start.num_steps, text)

  params = jax.device_get(lockstep.warm_started(lock, report))
  params = jax.tree.map(lambda x: x[:seeds], params)
  with checkpoints.Checkpoints(place, 1) as saved:
    saved.save(0, {"params": params}, made_by)
  return params, made_by


def trained(
  found: entries_lib.Entry,
  params: Any,
  budget: np.ndarray | None,
  folder: pathlib.Path,
  layout: columns_lib.Layout,
  progress: progress_lib.Progress,
) -> dict[str, Any]:
  """Trains all columns of a method.

  Args:
    found: the method.
    params: what each seed starts from, [S, ...].
    budget: tokens f64[S] at which it may stop; None for none.
    folder: of the lab.
    layout: how columns are shared out.
    progress: told of every evaluation.

  Returns:
    {"steps": [E], "tokens": [E][C], "figures": {name: [E][C][N]}, "secs",
    "left_out": [C], steps that left an update out}.
  """
  run, number = found.experiments[0].run, len(found.experiments)
  lock = locked(found.experiments, folder, layout)
  seeds = jax.tree.leaves(params)[0].shape[0]
  of_column = np.minimum(np.arange(lock.columns.number), number - 1) % seeds
  began = time.perf_counter()
  state, probed = lock.begin(
    jax.tree.map(lambda x: x[of_column], params), lock.task.train.prompts
  )
  tokens = np.zeros(number)
  if probed:
    tokens += jax.device_get(probed["rollout/probe_tokens"])[:number]
  held = {"steps": [], "tokens": [], "figures": {}, "left_out": [0] * number}
  step = 0
  while True:
    evaluated = lockstep.evaluated(lock, state.state.params, lock.task.test)
    note(held, step, tokens, evaluated[:number], run)
    best = np.mean([x.metrics[arena.RANKED] for x in evaluated[:number]])
    progress.update(found.name, step, run.num_steps, f"pass@1 {best:.3f}")
    spent = budget is not None and is_spent(tokens, budget)
    if step == run.num_steps or spent:
      return held | {"secs": time.perf_counter() - began}
    count = min(run.evaluation.every_steps, run.num_steps - step)
    state, metrics = lockstep.trained(lock, state, count)
    left_out = np.sum(metrics[numerics.SKIPPED][:, :number] > 0, axis=0)
    if left_out.any():
      held["left_out"] = np.add(held["left_out"], left_out).tolist()
      progress.say(
        f"{found.name}: {left_out.sum()} steps up to {step + count} left an"
        " update out that was not finite"
      )
    tokens = tokens + tokens_of(metrics)[:number]
    step += count


def locked(
  experiments: Sequence[experiment_lib.Experiment],
  folder: pathlib.Path,
  layout: columns_lib.Layout,
) -> lockstep.Lockstep:
  """Experiments in lockstep; the last is repeated until all devices share."""
  run = experiments[0].run
  task = tasks.load_task(
    run.data,
    run.rollout.completion_tokens,
    folder / workdir_lib.DATA,
    teaching.hints(run),
  )
  missing = -len(experiments) % layout.num_devices
  columns = columns_lib.columns([*experiments, *experiments[-1:] * missing])
  return lockstep.make_lockstep(columns, task, layout)


def tokens_of(metrics: Mapping[str, np.ndarray]) -> np.ndarray:
  """All that columns generated in some steps, f64[C], probes included."""
  return sum(
    np.sum(metrics[name], axis=0, dtype=np.float64)
    for name in ("rollout/tokens", "rollout/probe_tokens")
    if name in metrics
  )


def is_spent(tokens: np.ndarray, budget: np.ndarray) -> bool:
  """Whether all columns f64[C] have generated what their seeds may, f64[S]."""
  return bool(np.all(tokens.reshape(-1, budget.size) >= budget[None]))


def note(
  held: dict[str, Any],
  step: int,
  tokens: np.ndarray,
  evaluated: Sequence[evaluation.Evaluation],
  run: experiment_lib.Run,
) -> None:
  """Adds an evaluation of all columns to what a method's file holds."""
  held["steps"].append(step)
  held["tokens"].append(tokens.tolist())
  best_of = f"pass_at_{run.evaluation.num_generations}"
  for name in (arena.RANKED, best_of, "distinct_correct", "entropy"):
    values = np.stack([x.per_problem[name] for x in evaluated])
    held["figures"].setdefault(name, []).append(values.round(6).tolist())


def curves_of(
  found: entries_lib.Entry, held: dict[str, Any]
) -> list[arena.Curves]:
  """What a method's file holds, as rows of the table."""
  tokens = np.array(held["tokens"])
  figures = {name: np.array(x) for name, x in held["figures"].items()}
  number = tokens.shape[1]
  seeds = number // len(found.rows)
  return [
    arena.Curves(
      name,
      tokens[:, first : first + seeds],
      {k: x[:, first : first + seeds] for k, x in figures.items()},
      held["secs"] / number,
      sum(held["left_out"][first : first + seeds]),
    )
    for name, first in zip(found.rows, range(0, number, seeds), strict=True)
  ]


def identity(found: entries_lib.Entry, made_by: Any) -> dict[str, Any]:
  """What makes a finished method the one that is asked for."""
  names = [name for name in found.config if name not in _PASSING]
  return {
    "config": entries_lib.flat(found.config, names),
    "swept": found.swept,
    "warm_start": made_by,
  }


def finished(
  found: entries_lib.Entry,
  made_by: Any,
  budget: np.ndarray | None,
  folder: pathlib.Path,
  progress: progress_lib.Progress,
) -> dict[str, Any] | None:
  """What a method's file holds, if it is of these settings and long enough."""
  path = file_of(found, folder)
  if not path.exists():
    return None
  held = json.loads(path.read_text(encoding="utf-8"))
  wanted = identity(found, made_by)
  same = all(held.get(key) == value for key, value in wanted.items())
  # Files of earlier versions do not say how many updates were left out.
  same = same and "left_out" in held
  whole = same and held["steps"][-1] == found.experiments[0].run.num_steps
  if whole or (
    same
    and budget is not None
    and is_spent(np.array(held["tokens"][-1]), budget)
  ):
    progress.say(f"{found.name} is finished: read from {path}")
    if others := versions.changes(held.get("versions", {}), versions.here()):
      progress.say(
        f"{found.name} was computed with others than the rest: {others}"
      )
    return held
  progress.say(f"{path} is of other settings: kept as {_set_aside(path)}")
  return None


def file_of(found: entries_lib.Entry, folder: pathlib.Path) -> pathlib.Path:
  """Where a finished method lies."""
  return folder / f"{found.name.replace(':', '_')}.json"


def _set_aside(path: pathlib.Path) -> pathlib.Path:
  """Gives a file or folder another name, so that nothing is lost."""
  names = (path.with_name(f"{path.name}.{i}") for i in itertools.count(1))
  kept = next(name for name in names if not name.exists())
  path.rename(kept)
  return kept


if __name__ == "__main__":
  launch.run(main)
