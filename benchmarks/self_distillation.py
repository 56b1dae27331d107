"""What a teacher is shown, how much is covered, and what becomes of doubt.

python -m benchmarks.self_distillation --folder=runs/study \
    --out=benchmarks/results/self_distillation

The design of "Why Does Self-Distillation (Sometimes) Degrade the Reasoning
Capability of LLMs?" (https://arxiv.org/abs/2603.24472) on a generated task, not
its models: Countdown in which an attempt that misses is given up with a "?".
One warm start on problems of three and four numbers knows doubt and hints.

Ladder: the initial model answers with nothing, the answer (the last equation)
or a whole solution without doubt in view. Coverage: GRPO and SDPO with a frozen
teacher train on nested sets of problems of three numbers; evaluated on others
of three numbers, and on four numbers as problems of another domain.
"""

from concurrent import futures
import json
import pathlib
import time

from absl import app
from absl import flags
from absl import logging
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

matplotlib.use("Agg")  # before pyplot: no screen is needed

from matplotlib import pyplot

from benchmarks import runs
from rlvr_jax import checkpoints
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import keys
from rlvr_jax import programs as programs_lib
from rlvr_jax import rewards
from rlvr_jax import sharding
from rlvr_jax import verbalization
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.analysis import information
from rlvr_jax.data import tasks
from rlvr_jax.data import templates
from rlvr_jax.metrics import writers
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import sampler
from rlvr_jax.rollouts import scoring
from rlvr_jax.rollouts import teacher as teacher_lib

_FOLDER = flags.DEFINE_string(
  "folder", None, "Where the runs lie.", required=True
)
_OUT = flags.DEFINE_string("out", "", "Name of JSON and picture, less suffix.")
_SEEDS = flags.DEFINE_integer("seeds", 2, "How many seeds.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 40, "Steps of each run.")
_WORKERS = flags.DEFINE_integer("workers", 2, "Runs at a time.")
_SIZES = flags.DEFINE_list(
  "sizes", ["1", "8", "64", "512", "all"], "Problems to train on."
)

ARMS = ("grpo", "answer", "solution")
CONTEXTS = {"none": "", "answer": "gold_answer", "solution": "gold_solution"}
_ROWS = 256
_LADDER_PROMPTS = 128


def coverage_run(
  arm: str, size: str, seed: int, warm: pathlib.Path
) -> pathlib.Path:
  """GRPO or SDPO on the first `size` problems of three numbers."""
  folder = pathlib.Path(_FOLDER.value)
  number = 0 if size == "all" else int(size)
  # As many rows of a step whatever the number of problems.
  prompts = min(number or _ROWS, 32)
  overrides = {
    "seed": seed,
    "num_steps": _STEPS.value,
    "prompts_per_step": prompts,
    "rollout.num_generations": _ROWS // prompts,
    "data.variant": "doubt_three",
    "data.num_train_prompts": number,
    "evaluation.every_steps": _STEPS.value // 2,
    "checkpoint.every_steps": _STEPS.value,
    "checkpoint.keep": 1,
    "warm_start.source": warm.absolute(),
  }
  stem = "grpo"
  if arm != "grpo":
    stem = "sdpo"
    overrides |= {
      "teacher.context": CONTEXTS[arm],
      "teacher.weights": "frozen",  # the study's better setting
    }
  return runs.train(
    folder / f"{arm}_{size}_{seed}",
    f"experiments/{stem}.py:tiny_doubt",
    overrides,
    folder / "compilation_cache",
  )


def ladder(warm: pathlib.Path) -> dict[str, dict[str, float]]:
  """The initial model behind each context: score, length, doubt, richness."""
  experiment = experiment_lib.load(workdir_lib.read_config(warm))
  run = experiment.run
  task = tasks.load_task(
    run.data,
    run.rollout.completion_tokens,
    warm / workdir_lib.DATA,
    tuple(filter(None, CONTEXTS.values())),
  )
  programs = programs_lib.make_programs(
    experiment, task, sharding.make_mesh(run.mesh)
  )
  with checkpoints.Checkpoints(warm / workdir_lib.WARM_START, 1) as saved:
    params = saved.restore(
      saved.latest_step(), programs.warm_start.abstract
    ).params
  model, vocabulary = transformer.Transformer(run.model), task.vocabulary
  plain = jax.tree.map(
    lambda x: jnp.asarray(x)[:_LADDER_PROMPTS], task.test.prompts
  )
  pieces = teacher_lib.pieces_of(
    run.teacher, vocabulary.encode, run.data.prompt_tokens
  )
  verify = getattr(rewards, run.data.verifier)

  @jax.jit
  def answer(params, prompts):
    rollouts = sampler.generate(
      model,
      params,
      prompts,
      keys.stream_key(run.seed, "evaluate"),
      config=run.rollout,
      stop_ids=vocabulary.stop_ids,
      pad_id=vocabulary.pad_id,
    )
    return rewards.judge(rollouts, verify)

  score = jax.jit(
    lambda params, tokens: (
      scoring.score_completions(model, params, plain, tokens).logprobs
    )
  )
  found = {}
  for name, hint in CONTEXTS.items():
    prompts = plain
    if hint:
      prompts, _ = templates.fill(
        pieces,
        plain,
        *plain.hints[hint],
        width=run.teacher.prompt_tokens,
        pad_id=vocabulary.pad_id,
      )
    rollouts = answer(params, prompts)
    words = verbalization.text_metrics(
      np.asarray(rollouts.completion_tokens),
      np.asarray(rollouts.is_correct) > 0,
      vocabulary,
      run.epistemic.markers,
    )
    richness = information.information_richness(
      teacher_logprobs=rollouts.sampler_logprobs,
      logprobs=score(params, rollouts.completion_tokens),
      mask=rollouts.completion_mask,
    )
    found[name] = {
      "score": float(jnp.mean(rollouts.is_correct)),
      "length": words["length/mean"],
      "doubts": words["epistemic/count_mean"],
      "doubts_per_1k": words["epistemic/per_1k_tokens"],
      "richness": float(richness["per_sequence"].value()),
    }
  return found


def outcome(folder: pathlib.Path) -> dict[str, float]:
  """A run's last evaluation, and what it was at the start."""
  lines = writers.read_lines(folder / workdir_lib.METRICS)
  first, last = lines[0], lines[-1]
  found = {"tokens": last["rollout/total_tokens"]}
  for suite in ("eval", "ood"):
    for when, line in (("start", first), ("end", last)):
      words = f"{suite}_words/epistemic/per_1k_tokens"
      found |= {
        f"{suite}/pass_at_1/{when}": line[f"{suite}/pass_at_1"],
        f"{suite}/pass_at_8/{when}": line[f"{suite}/pass_at_8"],
        f"{suite}/doubts_per_1k/{when}": line[words],
        f"{suite}/length/{when}": line[f"{suite}_words/length/mean"],
      }
  # The last fifth of the run, since a batch of few problems is noisy.
  late = lines[-max(1, len(lines) // 5) :]
  found["train/accuracy"] = float(np.mean([x["train/accuracy"] for x in late]))
  return found


def report(ladders, sweep) -> str:
  """Both tables as Markdown, means over seeds."""
  mean = lambda rows, name: np.mean([row[name] for row in rows])
  lines = [
    "| context | score | length | doubts per response | doubts per 1k tokens"
    " | information richness (nats) |",
    "|---|---|---|---|---|---|",
  ]
  for name in CONTEXTS:
    rows = [found[name] for found in ladders]
    lines.append(
      f"| {name} | {mean(rows, 'score'):.3f} | {mean(rows, 'length'):.1f}"
      f" | {mean(rows, 'doubts'):.2f} | {mean(rows, 'doubts_per_1k'):.1f}"
      f" | {mean(rows, 'richness'):.2f} |"
    )
  lines += [
    "",
    "| method | problems | training score | held-out: pass@1 | change | doubts"
    " per 1k | other domain: pass@1 | change | doubts per 1k |",
    "|---|---|---|---|---|---|---|---|---|",
  ]
  for (arm, size), rows in sweep.items():
    cells = [f"{mean(rows, 'train/accuracy'):.3f}"]
    for suite in ("eval", "ood"):
      change = [
        row[f"{suite}/pass_at_1/end"] - row[f"{suite}/pass_at_1/start"]
        for row in rows
      ]
      middle, low, high = runs.interval(change)
      cells += [
        f"{mean(rows, f'{suite}/pass_at_1/end'):.3f}",
        f"{middle:+.3f} [{low:+.3f}, {high:+.3f}]",
        f"{mean(rows, f'{suite}/doubts_per_1k/start'):.1f} to"
        f" {mean(rows, f'{suite}/doubts_per_1k/end'):.1f}",
      ]
    lines.append(f"| {arm} | {size} | " + " | ".join(cells) + " |")
  return "\n".join(lines)


def draw(sweep, path: pathlib.Path) -> None:
  """Scores and doubts over coverage, one line per method."""
  sizes = list(dict.fromkeys(size for _, size in sweep))
  panels = (
    ("train/accuracy", "score on training problems", ""),
    ("eval/pass_at_1/end", "held-out pass@1", "eval/pass_at_1/start"),
    ("ood/pass_at_1/end", "other domain pass@1", "ood/pass_at_1/start"),
    (
      "eval/doubts_per_1k/end",
      "doubts per 1k tokens, held-out",
      "eval/doubts_per_1k/start",
    ),
  )
  figure, axes = pyplot.subplots(1, 4, figsize=(16, 3.6))
  for axis, (name, title, start) in zip(axes, panels, strict=True):
    for arm in dict.fromkeys(arm for arm, _ in sweep):
      values = np.array([[r[name] for r in sweep[arm, s]] for s in sizes])
      axis.plot(sizes, values.mean(axis=1), marker="o", label=arm)
      axis.fill_between(
        sizes, values.min(axis=1), values.max(axis=1), alpha=0.15
      )
    if start:
      level = np.mean([row[start] for rows in sweep.values() for row in rows])
      axis.axhline(level, color="black", linestyle=":", label="warm start")
    axis.set(title=title, xlabel="training problems", ylim=(0, None))
  axes[0].legend()
  figure.tight_layout()
  figure.savefig(path, dpi=110)
  pyplot.close(figure)


def main(argv):
  """Warm starts, the ladder, the sweep; then tables and picture."""
  del argv
  logging.set_verbosity(logging.ERROR)
  started = time.time()
  folder = pathlib.Path(_FOLDER.value)
  seeds = range(_SEEDS.value)
  with futures.ThreadPoolExecutor(_WORKERS.value) as pool:
    # A single step: what counts is its warm start.
    warm = list(
      pool.map(
        lambda seed: runs.train(
          folder / f"warm_{seed}",
          "experiments/sdpo.py:tiny_doubt",
          {"seed": seed, "num_steps": 1},
          folder / "compilation_cache",
        ),
        seeds,
      )
    )
    jobs = [(a, n, s) for s in seeds for n in _SIZES.value for a in ARMS]
    done = list(pool.map(lambda job: coverage_run(*job, warm[job[2]]), jobs))
  sweep: dict[tuple[str, str], list[dict]] = {
    (arm, size): [] for arm in ARMS for size in _SIZES.value
  }
  for (arm, size, _), path in zip(jobs, done, strict=True):
    sweep[arm, size].append(outcome(path))
  ladders = [ladder(path) for path in warm]
  print(report(ladders, sweep))
  print(f"{time.time() - started:.0f} s")
  if _OUT.value:
    found = {
      "seeds": list(seeds),
      "steps": _STEPS.value,
      "secs": time.time() - started,
      "jax": jax.__version__,
      "ladder": ladders,
      "sweep": [
        {"method": arm, "problems": size, "runs": rows}
        for (arm, size), rows in sweep.items()
      ],
    }
    out = pathlib.Path(_OUT.value)
    out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    draw(sweep, out.with_suffix(".png"))


if __name__ == "__main__":
  app.run(main)
