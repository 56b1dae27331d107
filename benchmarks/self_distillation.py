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
import pathlib
import time

from absl import app
from absl import flags
from absl import logging
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measurement
from benchmarks import runs
from benchmarks import self_distillation_report
from rlvr_jax import checkpoints
from rlvr_jax import keys
from rlvr_jax import rewards
from rlvr_jax import verbalization
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.analysis import information
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
  hints = tuple(filter(None, CONTEXTS.values()))
  experiment, task, programs = runs.opened(warm, hints)
  run = experiment.run
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
  print(self_distillation_report.text(ladders, sweep))
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
    measurement.write(out.with_suffix(".json"), found)
    self_distillation_report.draw(sweep, out.with_suffix(".png"))


if __name__ == "__main__":
  app.run(main)
