"""Methods compared: same warm start, same generated tokens.

python -m benchmarks.compare --variant=tiny --seeds=5 \
    --arms=grpo,paced,flowrl --folder=runs/compare \
    --out=benchmarks/results/paced_tiny.json

Every arm of a seed starts from the warm start of that seed's first arm. Curves
over generated tokens are read off at the same number of tokens, the least that
any arm of the seed generated; between two evaluations they are taken for
straight. Differences are paired by seed, intervals are bootstrapped over
seeds. A folder that is there already is gone on with.
"""

from concurrent import futures
import pathlib
import platform
import time

from absl import app
from absl import flags
from absl import logging
import jax
import numpy as np

from benchmarks import calibration
from benchmarks import measurement
from benchmarks import runs
from rlvr_jax import summary as summary_lib
from rlvr_jax.metrics import intervals
from rlvr_jax.metrics import writers

# Name -> experiment file, control, overrides.
# Dynamic sampling generates several batches a step: fewer steps are as many
# tokens.
ARMS = {
  "grpo": ("grpo", ""),
  "grpo_dynamic": ("grpo", "", "refill.max_rounds=8"),
  "paced": ("paced_rl", ""),
  "paced_faithful": ("paced_rl", "+faithful"),
  "paced_no_replay": ("paced_controls", "+no_replay"),
  "paced_uniform": ("paced_controls", "+uniform"),
  "paced_dynamic": ("paced_controls", "+dynamic"),
  "oracle": (
    "paced_controls",
    "+oracle",
    # A pool that holds a batch of mixed groups, for a bearable time.
    "candidates.num_prompts=160",
    "candidates.num_generations=4",
  ),
  "oracle_large": ("paced_controls", "+oracle"),
  "head_selects_only": ("paced_controls", "+head_selects_only"),
  "noise": ("paced_controls", "+noise"),
  "flowrl": ("flowrl", ""),
  "gflowrl": ("gflowrl", ""),
  "vargrad": ("vargrad", ""),
  # GRPO to the last bit, from a warm start with hints and with a teacher that
  # is only listened to: the first arm where others have a teacher.
  "grpo_taught": ("rlrt", "", "scalars.teacher_mix=0.0"),
  "rlrt": ("rlrt", ""),
  "rlrt_all": ("rlrt", "+all"),
  "rlrt_full": ("rlrt", "", "scalars.teacher_mix=1.0"),
  "rlrt_strong": (
    "rlrt",
    "",
    "scalars.teacher_mix=1.0",
    "scalars.teacher_clip=3.0",
  ),
  "rlsd": ("rlsd", ""),
  "rlsd_sibling": ("rlsd", "+sibling"),
  "sdpo": ("sdpo", ""),
  "sdpo_frozen": ("sdpo", "", "teacher.weights=frozen"),
  "sdpo_token": ("sdpo", "+token"),
  "srpo": ("srpo", ""),
  "antisd": ("antisd", ""),
  "opsd": ("opsd", ""),
  "sdft": ("sdft", ""),
}
_VARIANT = flags.DEFINE_string("variant", "tiny", "Task of the arms.")
_ARMS = flags.DEFINE_list(
  "arms",
  list(ARMS),
  "Which arms; the first is the one that others are compared with.",
)
_SEEDS = flags.DEFINE_integer("seeds", 5, "How many seeds.", lower_bound=2)
_FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "The first of them.")
_STEPS = flags.DEFINE_integer("steps", 150, "Steps of each run.")
_EVERY = flags.DEFINE_integer("every", 10, "Steps between evaluations.")
_WORKERS = flags.DEFINE_integer("workers", 2, "Runs at a time.")
_FOLDER = flags.DEFINE_string(
  "folder", None, "Where the runs lie.", required=True
)
_OUT = flags.DEFINE_string("out", "", "Where the JSON goes; empty: nowhere.")

MEASURES = ("pass_at_1", "pass_at_8", "distinct_correct", "entropy")
# Of a teacher; means over the steps of a run.
TEACHER = (
  "teacher/d_hat_mean",
  "teacher/d_hat_pos_frac",
  "teacher/kl_s_t",
  "teacher/active_row_frac",
  "teacher/changed_frac",
)


def run(arm: str, seed: int, source: pathlib.Path | None) -> pathlib.Path:
  """Trains an arm, unless it is done; its folder."""
  stem, control, *overrides = ARMS[arm]
  steps = _STEPS.value // 2 if arm.endswith("dynamic") else _STEPS.value
  folder = pathlib.Path(_FOLDER.value)
  return runs.train(
    folder / f"{arm}_{seed}",
    f"experiments/{stem}.py:{_VARIANT.value}{control}",
    {
      "seed": seed,
      "num_steps": steps,
      "evaluation.every_steps": _EVERY.value,
      "checkpoint.every_steps": steps,
      "checkpoint.keep": 1,
      "warm_start.source": source.absolute() if source else "",
      **dict(override.split("=") for override in overrides),
    },
    folder / "compilation_cache",
  )


def curve(folder: pathlib.Path) -> dict[str, np.ndarray]:
  """Evaluations of a run over the tokens it had generated.

  `tokens` counts all of them, `training_tokens` not those of a probe.
  """
  lines = writers.read_lines(folder / "metrics.jsonl")
  probes = np.cumsum([x.get("rollout/probe_tokens", 0) for x in lines])
  evaluated = [i for i, x in enumerate(lines) if "eval/pass_at_1" in x]
  total = np.array([lines[i]["rollout/total_tokens"] for i in evaluated])
  found = {"tokens": total, "training_tokens": total - probes[evaluated]}
  for name in MEASURES:
    found[name] = np.array([lines[i][f"eval/{name}"] for i in evaluated])
  for name in ("rollout/mixed_group_frac", *TEACHER):
    if name in lines[1]:
      found[name] = np.array([x[name] for x in lines[1:]])
  return found


def at(curve: dict[str, np.ndarray], name: str, tokens: float, clock: str):
  """A measure at a number of generated tokens."""
  return float(np.interp(tokens, curve[clock], curve[name]))


def tokens_to(curve: dict[str, np.ndarray], target: float, clock: str):
  """Tokens until pass@1 first reaches a target; None if it never does."""
  values, tokens = curve["pass_at_1"], curve[clock]
  for i in range(1, len(values)):
    if values[i] >= target:
      rise = values[i] - values[i - 1]
      share = (target - values[i - 1]) / rise if rise > 0 else 1.0
      share = min(max(share, 0.0), 1.0)
      return float(tokens[i - 1] + share * (tokens[i] - tokens[i - 1]))
  return None


def compare(curves: dict[str, list[dict]], clock: str) -> dict:
  """Every arm at equal tokens, and its paired differences to the first."""
  first = next(iter(curves))
  seeds = range(len(curves[first]))
  budget = [float(min(c[s][clock][-1] for c in curves.values())) for s in seeds]
  goal = [at(curves[first][s], "pass_at_1", budget[s], clock) for s in seeds]
  report = {}
  for arm, of_arm in curves.items():
    values = {
      name: np.array([at(of_arm[s], name, budget[s], clock) for s in seeds])
      for name in MEASURES
    }
    base = {
      name: np.array(
        [at(curves[first][s], name, budget[s], clock) for s in seeds]
      )
      for name in MEASURES
    }
    reached = [tokens_to(of_arm[s], goal[s], clock) for s in seeds]
    shares = [
      t / budget[s]
      for s, t in zip(seeds, reached, strict=True)
      if t is not None
    ]
    report[arm] = {
      "at_equal_tokens": {
        k: intervals.over_seeds(v) for k, v in values.items()
      },
      "difference": {
        k: intervals.over_seeds(values[k] - base[k]) for k in MEASURES
      },
      "by_seed": {k: v.tolist() for k, v in values.items()},
      "tokens_to_goal": reached,
      "share_of_tokens_to_goal": intervals.over_seeds(np.array(shares))
      if shares
      else None,
      "reached_goal": len(shares),
      "mixed_groups_first": float(
        np.mean([r["rollout/mixed_group_frac"][:3].mean() for r in of_arm])
      ),
      "mixed_groups": float(
        np.mean([r["rollout/mixed_group_frac"].mean() for r in of_arm])
      ),
      "teacher": {
        name.removeprefix("teacher/"): intervals.over_seeds(
          [r[name].mean() for r in of_arm]
        )
        for name in TEACHER
        if name in of_arm[0]
      },
    }
  return {"budget": budget, "goal": goal, "arms": report}


def table(report: dict, calibrated: dict) -> str:
  """The report as Markdown."""
  arms = report["arms"]
  head = ["arm", *MEASURES, "pass@1 against the first", "tokens to goal"]
  head += ["reached", "mixed groups"]
  if calibrated:
    head += ["calibration error (excess)", "rank corr."]
  told = list(
    dict.fromkeys(name for found in arms.values() for name in found["teacher"])
  )
  head += told
  rows = []
  show = lambda x: f"{x[0]:.3f} [{x[1]:.3f}, {x[2]:.3f}]"
  for arm, found in arms.items():
    share = found["share_of_tokens_to_goal"]
    cells = [show(found["at_equal_tokens"][name]) for name in MEASURES]
    cells.append(show(found["difference"]["pass_at_1"]))
    cells.append(show(share) if share else "never")
    cells.append(f"{found['reached_goal']}/{len(report['budget'])}")
    cells.append(f"{found['mixed_groups']:.2f}")
    if arm in calibrated:
      mean = lambda name, arm=arm: np.mean([c[name] for c in calibrated[arm]])
      cells.append(f"{mean('error'):.3f} ({mean('excess_error'):.3f})")
      cells.append(f"{mean('rank_correlation'):.2f}")
    elif calibrated:
      cells += ["", ""]
    for name in told:
      value = found["teacher"].get(name)
      cells.append(f"{value[0]:.3f}" if value else "")
    rows.append([arm, *cells])
  return summary_lib.markdown(head, rows)


def main(argv):
  """Runs the arms seed by seed and reports."""
  del argv
  logging.set_verbosity(logging.ERROR)
  started = time.time()
  arms = _ARMS.value
  seeds = range(_FIRST_SEED.value, _FIRST_SEED.value + _SEEDS.value)
  folders: dict[str, list[pathlib.Path]] = {}
  with futures.ThreadPoolExecutor(_WORKERS.value) as pool:
    first = list(pool.map(lambda seed: run(arms[0], seed, None), seeds))
    folders[arms[0]] = first
    jobs = [(arm, i) for i in range(len(first)) for arm in arms[1:]]
    done = pool.map(lambda job: run(job[0], seeds[job[1]], first[job[1]]), jobs)
    for (arm, _), folder in zip(jobs, done, strict=True):
      folders.setdefault(arm, []).append(folder)
      print(folder, flush=True)
  curves = {arm: [curve(folder) for folder in folders[arm]] for arm in arms}
  calibrated = {
    arm: [calibration.measure(folder) for folder in folders[arm]]
    for arm in arms
    if calibration.has_head(folders[arm][0])
  }
  report = {
    "variant": _VARIANT.value,
    "steps": _STEPS.value,
    "seeds": list(seeds),
    "date": time.strftime("%Y-%m-%d"),
    "python": platform.python_version(),
    "jax": jax.__version__,
    "secs": time.time() - started,
    "all_tokens": compare(curves, "tokens"),
    "training_tokens": compare(curves, "training_tokens"),
    "calibration": calibrated,
  }
  for clock in ("all_tokens", "training_tokens"):
    print(f"\n{clock}\n{table(report[clock], calibrated)}")
  measurement.write(_OUT.value, report)


if __name__ == "__main__":
  app.run(main)
