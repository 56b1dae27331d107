"""The evaluation program: a checkpoint on held-out prompts.

python -m rlvr_jax.evaluate --workdir=runs/grpo --num_generations=32

Reads the newest checkpoint and the settings that lie beside it; prints pass@1
(avg@n), pass@n, maj@n, greedy accuracy and more with standard errors, and
writes them to evaluation.json. --files evaluates on other problems; --compare
adds differences to another run, paired by problem.
"""

import dataclasses
import json
import pathlib
from typing import Any

from absl import flags
import jax

from rlvr_jax import checkpoints
from rlvr_jax import errors
from rlvr_jax import evaluation
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import launch
from rlvr_jax import programs as programs_lib
from rlvr_jax import settings
from rlvr_jax import sharding
from rlvr_jax import summary
from rlvr_jax import verbalization
from rlvr_jax import verification
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.data import builders
from rlvr_jax.data import file_sets
from rlvr_jax.data import tasks
from rlvr_jax.metrics import pass_at_k
from rlvr_jax.metrics import writers
from rlvr_jax.weights import pretrained

_WORKDIR = launch.define_workdir_flag()
_SPLIT = flags.DEFINE_enum("split", "test", builders.SPLITS, "Which prompts.")
_NUM_PROMPTS = flags.DEFINE_integer(
  "num_prompts", None, "The first so many prompts; default: as in training."
)
_NUM_GENERATIONS = flags.DEFINE_integer(
  "num_generations", None, "Samples a prompt; default: as in training."
)
_TEMPERATURE = flags.DEFINE_float(
  "temperature", None, "Of the samples; default: as in training."
)
_SUPPRESS_MARKERS = flags.DEFINE_bool(
  "suppress_markers", None, "Never sample a marker of config.epistemic."
)

_MARKERS = flags.DEFINE_string(
  "markers", None, "List of words of doubt to count; default: the run's."
)
_SEED = flags.DEFINE_integer(
  "seed", None, "Of the draws; default: the run's. Alike for a comparison."
)
_MESH = flags.DEFINE_list(
  "mesh", None, "Devices along data, fsdp and tensor; default: as in training."
)
_FILES = flags.DEFINE_list(
  "files", None, "Problems to evaluate on; default: the run's own."
)
_COMPARE = flags.DEFINE_string(
  "compare", None, "Folder of another run, evaluated on the same problems."
)

EVALUATION = "evaluation.json"


def main() -> None:
  """Evaluates the newest checkpoint of the flags' folder."""
  folder = launch.folder(_WORKDIR)
  config = workdir_lib.read_config(folder)
  if _MESH.value:
    config["mesh"] = sharding.parsed("--mesh", _MESH.value)
  experiment = experiment_lib.load(config)
  run = experiment.run
  if _SEED.value is not None:
    run = dataclasses.replace(run, seed=_SEED.value)
  overrides = {
    "num_prompts": _NUM_PROMPTS.value,
    "num_generations": _NUM_GENERATIONS.value,
    "temperature": _TEMPERATURE.value,
  }
  for name, value in overrides.items():
    settings.require(
      value is None or value > 0, f"--{name} is {value}: set it above 0"
    )
  overrides["suppresses_markers"] = _SUPPRESS_MARKERS.value
  run = dataclasses.replace(
    run,
    evaluation=dataclasses.replace(
      run.evaluation, **{k: v for k, v in overrides.items() if v is not None}
    ),
  )
  if _FILES.value:
    settings.require(
      run.data.files is not None,
      f"--files is {_FILES.value}, but the run's problems come from a builder:"
      " leave the flag out",
    )
    files = dataclasses.replace(
      run.data.files, test=file_sets.FileSet(tuple(_FILES.value)), test_frac=0.0
    )
    run = dataclasses.replace(
      run, data=dataclasses.replace(run.data, files=files)
    )
  step, result = newest(experiment._replace(run=run), folder)
  found = {
    "step": step,
    "split": _SPLIT.value,
    "seed": run.seed,
    "data": json.loads(json.dumps(dataclasses.asdict(run.data))),
    "settings": dataclasses.asdict(run.evaluation),
    "metrics": result.metrics,
    "words": result.words,
    "per_problem": {k: v.tolist() for k, v in result.per_problem.items()},
  }
  writers.write_json(folder / EVALUATION, found)
  print(f"step {step}, {_SPLIT.value} split")
  print(summary.one_column(result.metrics))
  if result.words:
    rate = result.words["epistemic/per_1k_tokens"]
    print(f"words of doubt per 1,000 tokens: {rate:.2f}")
  print("\n".join(summary.sample_line(sample) for sample in result.samples))
  print(f"figures: {folder / EVALUATION}")
  if _COMPARE.value:
    print(comparison(found, pathlib.Path(_COMPARE.value)))


def newest(
  experiment: experiment_lib.Experiment, folder: pathlib.Path
) -> tuple[int, evaluation.Evaluation]:
  """Step and evaluation of the newest checkpoint in a run's folder.

  Raises:
    errors.UserError: if there is none, or a file cannot be read.
  """
  run, epistemic = experiment.run, experiment.run.epistemic
  if _MARKERS.value:
    # Of texts alone: no token of the model need be one of the words.
    epistemic = verbalization.EpistemicConfig(preset=_MARKERS.value)
  with checkpoints.Checkpoints(
    folder / workdir_lib.CHECKPOINTS, run.checkpoint.keep
  ) as saved:
    step = saved.latest_step()
    if step is None:
      raise errors.UserError(
        f"--workdir {folder} has no checkpoint yet: train further, or lower"
        " config.checkpoint.every_steps"
      )
    tokenizer = None
    if run.pretrained:
      tokenizer = pretrained.tokenizer(run.pretrained, run.model)
    task = tasks.load_task(
      run.data,
      run.rollout.completion_tokens,
      folder / workdir_lib.DATA,
      tokenizer=tokenizer,
    )
    prompt_set = getattr(task, _SPLIT.value)
    settings.require(
      prompt_set is not None,
      f"--split is {_SPLIT.value}, which config.data.files does not have:"
      " choose another",
    )
    with verification.opened(
      run.data, run.verifier_pool, task, run.consistency.asks_verifier
    ) as judge_texts:
      programs = programs_lib.make_programs(
        experiment, task, sharding.make_mesh(run.mesh), judge_texts
      )
      params = saved.restore_part(
        step, "params", programs.train.abstract.params
      )
      with jax.transfer_guard("disallow"):
        return step, evaluation.evaluate(
          programs.take,
          programs.decode,
          params,
          getattr(programs.task, _SPLIT.value),
          config=run.evaluation,
          vocabulary=task.vocabulary,
          markers=epistemic.markers if epistemic else (),
          answer_of=verification.answer_reader(run.data.verifier),
        )


def comparison(ours: dict[str, Any], folder: pathlib.Path) -> str:
  """Differences to another run's evaluation of the same problems, as text.

  Raises:
    errors.UserError: if that run was not evaluated, or on other problems, in
      another way or with other random draws.
  """
  path = folder / EVALUATION
  settings.require(
    path.exists(),
    f"--compare {folder} has no {EVALUATION}: evaluate that run first",
  )
  theirs = json.loads(path.read_text(encoding="utf-8"))
  for key in ("split", "data", "settings", "seed"):
    settings.require(
      ours[key] == theirs.get(key),
      f"--compare {folder} was evaluated with {key} {theirs.get(key)}, and this"
      f" run with {ours[key]}: evaluate both alike (--seed for the draws)",
    )
  rows = [("against the other run", "change", "95 % interval")]
  for name, values in ours["per_problem"].items():
    change, low, high = pass_at_k.paired_difference(
      values, theirs["per_problem"][name]
    )
    rows.append(
      (summary.label(name), f"{change:+.3f}", f"{low:+.3f} to {high:+.3f}")
    )
  return f"\n{summary.aligned(rows)}"


if __name__ == "__main__":
  launch.run(main)
