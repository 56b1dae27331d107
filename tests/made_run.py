"""The folder of a run that never ran: files as a run writes them."""

import json
import pathlib
from typing import Any

from rlvr_jax import workdir

# Ends scripts and comments, opens elements, and holds what no page can show.
HOSTILE = (
  "</script><script>document.title='owned'</script><!-- ]]> \x00 \ud800 \x1b[0m"
  " <img src=x onerror=\"document.title='owned'\"> ${x} $\\frac{1}{2}$ & ' \""
)
CONFIG = {
  "advantage": "grpo_advantages",
  "token_loss": {"name": "ppo_clip", "clip_high": 0.28},
  "token_weights": ["reversed_teacher"],
  "data": {"name": "countdown", "variant": "three"},
  "num_steps": 6,
  "prompts_per_step": 4,
  "seed": 3,
}


def line(step: int) -> dict[str, Any]:
  """A line of metrics.jsonl; every second step is evaluated."""
  found = {"step": step, "rollout/total_tokens": 1000 * step}
  if step > 0:
    found |= {
      "train/reward": 0.1 * step,
      "train/accuracy": 0.1 * step,
      "policy/entropy": 0.5 - 0.01 * step,
      "policy/grad_norm": 0.3,
      "rollout/entropy": 0.5,
      "rollout/entropy_correct": None if step == 1 else 0.4,
      "rollout/length_correct": 12.0,
      "rollout/mixed_group_frac": 0.5,
      "epistemic/marker_tokens_per_1k/correct": 2.0,
    }
    for i in range(10):
      found |= {
        f"calibration/{i}/prompts": 2.0 * (i < 5),
        f"calibration/{i}/estimate_sum": 2 * (i + 0.5) / 10,
        f"calibration/{i}/accuracy_sum": 2 * i / 10,
      }
  if step % 2 == 0:
    found |= {"eval/pass_at_1": 0.1 + 0.05 * step, "eval/pass_at_1_se": 0.02}
    found |= {"eval/pass_at_8": 0.5, "eval/pass_at_8_se": 0.03}
  return found


def _sample(step: int, text: str, outcome: str) -> dict[str, Any]:
  return {"step": step, "prompt": text, "completion": text, "outcome": outcome}


def _token_row(step: int, group: int, text: str) -> dict[str, Any]:
  return {
    "step": step,
    "prompt": text,
    "outcome": "correct" if group else "wrong",
    "is_correct": bool(group),
    "reward": float(group),
    "group": group,
    "tokens": [text, "\n", "", "<eos>"],
    "logprobs": [-1.5, None, -0.1, 0.0],
    "entropies": [1.0, 0.5, 0.0, 0.2],
    "weights": [1.5, -0.5, 0.0, 2.0],
    "d_hat": [0.1, -2.0, 0.0, 0.3],
  }


def make(folder: pathlib.Path, last_step: int = 6, **changes) -> pathlib.Path:
  """Writes the files of a run that has reached a step.

  Args:
    folder: to be made.
    last_step: -1 for a run that has written its config alone.
    changes: of the config.
  """
  folder.mkdir(parents=True)
  (folder / workdir.CONFIG).write_text(json.dumps(CONFIG | changes))
  steps = range(last_step + 1)
  evaluated = [step for step in steps if step % 2 == 0]
  texts = ("6 1 5:11>", HOSTILE, "x" * 1_000_000)
  files = {
    workdir.METRICS: [line(step) for step in steps],
    workdir.TIMING: [
      {
        "step": step,
        "rollout_secs": 0.1,
        "update_secs": 0.2 + 9 * (step == 1),
        "compile/programs": 5 * (step <= 1),
      }
      for step in steps
    ],
    workdir.SAMPLES: [
      _sample(step, text, outcome)
      for step in evaluated
      for text, outcome in zip(
        texts, ("correct", "wrong", "truncated"), strict=True
      )
    ],
    workdir.VERSIONS: [
      {"step": 0, "jax": "0.10.2"},
      {"step": 2, "jax": "0.11.2", "code": HOSTILE},
    ],
    workdir.TOKENS: [
      _token_row(step, group, text)
      for step in evaluated[1:]
      for group, text in enumerate(texts)
    ],
  }
  for name, lines in files.items():
    text = "".join(json.dumps(x) + "\n" for x in lines)
    (folder / name).write_text(text)
  return folder
