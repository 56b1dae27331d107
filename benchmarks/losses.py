"""What papers change: the losses of all methods on one batch of rollouts.

python -m benchmarks.losses --make=runs/losses/rollouts.npz
python -m benchmarks.losses --rollouts=runs/losses/rollouts.npz \
    --json=benchmarks/results/losses.json --png=runs/losses/cosines.png

The first trains a small run in the folder runs/losses and writes a batch of it
with the columns of a teacher and of a reference; the second compares all
experiment files on it, with the settings of their variant "tiny". A batch that
a run has kept in skipped/, or one of `rlvr_jax.import_rollouts`, does as well:
--policy then names the run, or the Hugging Face folder of the model.

Columns of the table, each for a batch that is one update:

  loss         all terms of it
  norm         of the policy's gradient, before any clipping
  cosine       of that gradient with GRPO's; --json and --png have all pairs
  weighted     share of tokens whose weight is not 0, see `method_gradients`
  clipped      share of tokens with credit whose weight is 0: clips, for losses
               that have them, and masks
  correlation  of the weights with GRPO's, over tokens
  below, above share of tokens whose ratio lies below 0.8 or above 1.2, of
               those that the method's filters leave
  ms           a compiled gradient, median of rounds in turns

On-policy all ratios are 1 and no clip binds: --off_policy_steps N takes the
gradients once more after N updates of GRPO on the same batch. A method that
reads a field that the file lacks is listed with the reason. Nothing but times
differs from one start to the next.
"""

import argparse
import pathlib
import sys
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")  # before pyplot: no screen is needed

from matplotlib import pyplot

from benchmarks import frozen_rollouts
from benchmarks import machine
from benchmarks import measurement
from benchmarks import method_gradients
from experiments import grpo
from rlvr_jax import errors
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import optimizers
from rlvr_jax import summary as summary_lib

_COLUMNS = {
  "loss": ("loss", "{:.4g}"),
  "norm": ("gradient_norm", "{:.3g}"),
  "cosine": ("cosine", "{:+.3f}"),
  "weighted": ("weighted_frac", "{:.3f}"),
  "clipped": ("clipped_frac", "{:.3f}"),
  "correlation": ("weight_correlation", "{:+.3f}"),
  "below": ("ratio_low_frac", "{:.3f}"),
  "above": ("ratio_high_frac", "{:.3f}"),
}


def run(args: argparse.Namespace) -> dict[str, Any]:
  """All figures of a rollout file; prints what it could not do."""
  file = pathlib.Path(args.rollouts)
  folder = pathlib.Path(args.policy) if args.policy else file.parent
  frozen = frozen_rollouts.opened(file, folder, args.temperature)
  if frozen.scored:
    print(
      f"{file} has no {', '.join(frozen.scored)}: scored with the policy in"
      f" {folder}"
    )
  methods = method_gradients.methods(
    list(filter(None, args.methods.split(",")))
  )
  reasons = {
    name: method_gradients.lacking(method, frozen.rollouts)
    for name, method in methods.items()
  }
  left_out = {name: reason for name, reason in reasons.items() if reason}
  for name, reason in left_out.items():
    print(f"left out: {name} ({reason})")
  chosen = {name: x for name, x in methods.items() if name not in left_out}
  compiled = method_gradients.programs(chosen, frozen, args.micro_batches)
  batches = {"on_policy": (frozen.params, frozen.on_policy)}
  if args.off_policy_steps:
    batches["off_policy"] = (moved(frozen, args), frozen.rollouts)
  found = {}
  for kind, batch in batches.items():
    figures, cosines = method_gradients.compare(compiled, *batch, args.rounds)
    found[kind] = {"methods": figures, "cosines": cosines}
  valid = frozen.rollouts.valid
  return {
    "rows": int(np.sum(valid)),
    "tokens": int(np.sum(frozen.rollouts.completion_mask * valid[:, None])),
    "scored": list(frozen.scored),
    "left_out": left_out,
    **found,
  }


def moved(frozen: frozen_rollouts.Frozen, args: argparse.Namespace) -> Any:
  """Parameters after the updates of GRPO that the flags ask for."""
  config = grpo.get_config()
  config.optimizer.learning_rate = args.learning_rate
  experiment = experiment_lib.load(config.to_dict())
  return method_gradients.moved(
    frozen,
    experiment.method,
    optimizers.make_optimizer(experiment.run.optimizer),
    args.off_policy_steps,
  )


def table(found: dict[str, Any]) -> str:
  """One line for each method."""
  shown = lambda form, value: "" if value is None else form.format(value)
  rows = []
  for (name, figures), cosines in zip(
    found["methods"].items(), found["cosines"], strict=True
  ):
    # The baseline is the first.
    figures = figures | {"cosine": cosines[0]}
    cells = [shown(form, figures[key]) for key, form in _COLUMNS.values()]
    rows.append([name, *cells, f"{1e3 * figures['gradient_secs']:.1f}"])
  return summary_lib.markdown(["method", *_COLUMNS, "ms"], rows)


def draw(found: dict[str, dict[str, Any]], path: str) -> None:
  """Heat maps of cosines, one for each kind, as a PNG."""
  size = 2.5 + 0.32 * len(next(iter(found.values()))["methods"])
  figure, grid = pyplot.subplots(
    1,
    len(found),
    figsize=((size + 0.5) * len(found), size),
    squeeze=False,
    layout="constrained",
  )
  for panel, (kind, part) in zip(grid[0], found.items(), strict=True):
    names = list(part["methods"])
    values = np.array(part["cosines"], float)  # None becomes nan: blank
    image = panel.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
    panel.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    panel.set_yticks(range(len(names)), names, fontsize=7)
    panel.set_title(kind.replace("_", "-"), fontsize=10)
    for (i, j), value in np.ndenumerate(values):
      if np.isfinite(value):
        color = "white" if abs(value) > 0.6 else "black"
        text = f"{value:.1f}".replace("-0.0", "0.0")
        panel.text(
          j, i, text, ha="center", va="center", fontsize=5, color=color
        )
  figure.colorbar(image, ax=grid[0].tolist(), label="cosine", shrink=0.6)
  pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(path, dpi=130)
  pyplot.close(figure)


def arguments() -> argparse.ArgumentParser:
  """Flags of the program."""
  flags = measurement.parser(__doc__, rounds=10)
  one = flags.add_mutually_exclusive_group(required=True)
  one.add_argument("--rollouts", help="file of rollouts to compare methods on")
  one.add_argument("--make", metavar="FILE", help="write such a file")
  flags.add_argument(
    "--methods", default="", help="names of experiment files; empty: all"
  )
  flags.add_argument(
    "--policy", default="", help="folder of the model (that of the file)"
  )
  flags.add_argument(
    "--temperature", type=float, help="the sampler's (that of the run, or 1)"
  )
  flags.add_argument("--png", default="", help="picture of the cosines")
  flags.add_argument(
    "--learning_rate", type=float, default=5e-4, help="of those updates (5e-4)"
  )
  integer = measurement.integer
  integer(flags, "--off_policy_steps", 0, "updates of GRPO before", least=0)
  integer(flags, "--micro_batches", 1, "passes of a gradient")
  integer(flags, "--steps", 10, "RL steps of --make")
  return flags


def main() -> None:
  """Makes a file, or compares and reports."""
  args = arguments().parse_args()
  try:
    if args.make:
      frozen_rollouts.make(pathlib.Path(args.make), args.steps)
      print(f"wrote {args.make}")
      return
    started = machine.look()
    found = run(args)
  except errors.UserError as error:
    sys.exit(f"error: {error}")
  kinds = {kind: x for kind, x in found.items() if kind.endswith("_policy")}
  for kind, part in kinds.items():
    print(f"\n{kind.replace('_', '-')}\n\n{table(part)}")
  if args.png:
    draw(kinds, args.png)
  measurement.append(args.json, measurement.record(args, started, **found))


if __name__ == "__main__":
  main()
