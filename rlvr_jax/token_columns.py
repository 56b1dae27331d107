"""Training rollouts token by token, with the credit that each token gets.

For some rollouts of some steps; `rlvr_jax.report` draws them as a heat map.
"""

from collections.abc import Callable
import dataclasses
import math
from typing import Any

import jax
import numpy as np

from rlvr_jax import objective as objective_lib
from rlvr_jax import records
from rlvr_jax import settings
from rlvr_jax.data import vocabulary as vocabulary_lib
from rlvr_jax.derived import teacher as teacher_fields

# The file takes little room, and nobody reads more of a number.
_DIGITS = 4


@dataclasses.dataclass(frozen=True)
class ReportConfig:
  """What is kept for `rlvr_jax.report` alone."""

  # Prompts whose rollouts are written to tokens.jsonl at the first step, at
  # every evaluated one and at the last; at most those of a step. 0: none.
  token_prompts: int = 2

  def __post_init__(self):
    settings.require(
      self.token_prompts >= 0,
      f"config.report.token_prompts is {self.token_prompts}: set it to 0 or"
      " more",
    )


def make_look(
  first_fields: Callable[..., dict[str, jax.Array]],
  method: objective_lib.Objective,
  config: ReportConfig,
) -> Callable[..., dict[str, jax.Array]]:
  """The function (state, rollouts) -> arrays of the first prompts' rows.

  Credit is that of the whole batch; only then are rows left out.

  Args:
    first_fields: `update.first_fields` of the run.
    method: the bound objective.
    config: how many prompts.

  Returns:
    A function, to compile, that returns by name:
    prompt_tokens, prompt_mask: [G', P] of the prompts shown.
    completion_tokens, completion_mask: [B', T] of their rows.
    group_ids, outcomes, is_correct, rewards: [B'], rewards after shaping.
    logprobs: f32[B', T], nats, of the sampler.
    entropies: f32[B', T], nats, of the sampler.
    weights: f32[B', T], what a policy gradient multiplies the token's
      log-probability with, clipping and the division by the number of tokens
      left aside: the advantage times the token's weight, and its bonus; 0 on
      tokens and rows that are masked out. Without an advantage function there
      is none: a loss such as trajectory balance or distillation weighs whole
      responses or distributions itself.
    d_hat: f32[B', T], nats, with a teacher: student less teacher
      log-probability, as RLRT signs it; 0 on rows without one.
  """

  def look(
    state: records.TrainState, rollouts: records.RolloutBatch
  ) -> dict[str, jax.Array]:
    fields = first_fields(state, rollouts)
    prompts = rollouts.prompts
    num_prompts, num_rows = len(prompts.prompt_ids), len(rollouts.group_ids)
    shown = min(config.token_prompts, num_prompts)
    columns = {
      "completion_tokens": rollouts.completion_tokens,
      # Credit takes rows that it drops out of the mask; they are shown.
      "completion_mask": rollouts.completion_mask,
      "logprobs": rollouts.sampler_logprobs,
      "entropies": rollouts.frozen_entropies,
    }
    names = ("group_ids", "outcomes", "is_correct", "rewards")
    columns |= {name: fields[name] for name in names}
    if method.advantage:
      columns["weights"] = fields["token_advantages"] * fields["loss_mask"]
    if rollouts.teacher_logprobs is not None:
      columns["d_hat"] = teacher_fields.d_hat(
        student_logprobs=fields["frozen_logprobs"],
        teacher_logprobs=rollouts.teacher_logprobs,
        has_teacher=rollouts.has_teacher,
        completion_mask=rollouts.completion_mask,
      )
    of_prompts = {
      "prompt_tokens": prompts.prompt_tokens[:shown],
      "prompt_mask": prompts.prompt_mask[:shown],
    }
    rows = shown * (num_rows // num_prompts)
    return of_prompts | {name: x[:rows] for name, x in columns.items()}

  return look


def lines(
  looked: dict[str, np.ndarray], vocabulary: vocabulary_lib.Vocabulary
) -> list[dict[str, Any]]:
  """What `make_look`'s function gave, as lines of tokens.jsonl.

  Returns:
    One dict a row: `prompt` text, `outcome`, `is_correct`, `reward`, `group`
    (0 for the first prompt's), `tokens` as texts, each decoded alone, and one
    list a column as long as the tokens; what is not finite is None.
  """
  inside = looked["completion_mask"] > 0
  columns = ("logprobs", "entropies", "weights", "d_hat")
  found = []
  for row, group in enumerate(looked["group_ids"]):
    prompt = looked["prompt_tokens"][group]
    ids = looked["completion_tokens"][row][inside[row]]
    found.append(
      {
        "prompt": vocabulary.text(prompt[looked["prompt_mask"][group] > 0]),
        "outcome": records.OUTCOMES[looked["outcomes"][row]],
        "is_correct": bool(looked["is_correct"][row] > 0),
        "reward": _short(looked["rewards"][row]),
        "group": int(group),
        "tokens": [vocabulary.text([i]) for i in ids],
      }
      | {
        name: [_short(x) for x in looked[name][row][inside[row]]]
        for name in columns
        if name in looked
      }
    )
  return found


def _short(value: float) -> float | None:
  return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
