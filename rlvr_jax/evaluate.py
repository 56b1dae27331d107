"""The evaluation program: a checkpoint on held-out prompts.

python -m rlvr_jax.evaluate --workdir=runs/grpo --num_generations=32

Reads the newest checkpoint and the settings that lie beside it; prints pass@1,
pass@n, greedy accuracy and more with standard errors, and writes them to
evaluation.json.
"""

import contextlib
import dataclasses

from absl import flags
import jax

from rlvr_jax import checkpoints
from rlvr_jax import errors
from rlvr_jax import evaluation
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import launch
from rlvr_jax import pretrained
from rlvr_jax import programs as programs_lib
from rlvr_jax import settings
from rlvr_jax import sharding
from rlvr_jax import summary
from rlvr_jax import verification
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.data import builders
from rlvr_jax.data import tasks
from rlvr_jax.metrics import writers

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

EVALUATION = "evaluation.json"


def main() -> None:
  """Evaluates the newest checkpoint of the flags' folder."""
  folder = launch.folder(_WORKDIR)
  experiment = experiment_lib.load(workdir_lib.read_config(folder))
  run = experiment.run
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
  mesh = sharding.make_mesh(run.mesh)
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
  with contextlib.ExitStack() as stack:
    judge_texts = stack.enter_context(
      verification.opened(run.data.verifier, run.verifier_pool, task.vocabulary)
    )
    programs = programs_lib.make_programs(
      experiment._replace(run=run), task, mesh, judge_texts
    )
    with checkpoints.Checkpoints(
      folder / workdir_lib.CHECKPOINTS, run.checkpoint.keep
    ) as saved:
      state = saved.restore(step, programs.train.abstract)
    stack.enter_context(jax.transfer_guard("disallow"))
    result = evaluation.evaluate(
      programs.take,
      programs.decode,
      state.params,
      getattr(programs.task, _SPLIT.value),
      config=run.evaluation,
      vocabulary=task.vocabulary,
      markers=run.epistemic.markers if run.epistemic else (),
    )
  metrics = {
    "step": step,
    "split": _SPLIT.value,
    "settings": dataclasses.asdict(run.evaluation),
    "metrics": result.metrics,
    "words": result.words,
  }
  writers.write_json(folder / EVALUATION, metrics)
  print(f"step {step}, {_SPLIT.value} split")
  print(summary.one_column(result.metrics))
  print("\n".join(summary.sample_line(sample) for sample in result.samples))
  print(f"figures: {folder / EVALUATION}")


if __name__ == "__main__":
  launch.run(main)
