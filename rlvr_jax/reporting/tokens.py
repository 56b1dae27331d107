"""Training rollouts as a heat map: weights, entropies and the like."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlvr_jax.reporting import markup

# Columns of tokens.jsonl: what each is called, and the sentence below it.
COLUMNS = {
  "weights": (
    "weight",
    "What the gradient of the token's log-probability is multiplied with:"
    " advantage times token weight. Above 0 the token becomes likelier.",
  ),
  "d_hat": (
    "d_hat (nats)",
    "Log-probability by the student less that by the teacher. Above 0 the"
    " token is the student's own, below the teacher predicts it.",
  ),
  "entropies": (
    "entropy (nats)",
    "Of the policy where the token was drawn.",
  ),
  "logprobs": (
    "log-prob (nats)",
    "Of the token when it was drawn.",
  ),
}
# In a page; with more of them, steps are left out.
_MOST_TOKENS = 150_000
# Of the values of a column, the share that the scale covers.
_COVERED = 0.99


def heat_map(lines: Sequence[Mapping[str, Any]]) -> str:
  """Choices, a legend, and the tokens as data for report.js.

  Args:
    lines: of tokens.jsonl.
  """
  if not lines:
    return markup.note(
      "This run keeps no tokens: see config.report.token_prompts."
    )
  by_step: dict[int, list[Mapping[str, Any]]] = {}
  for line in lines:
    by_step.setdefault(line["step"], []).append(line)
  shown = spread(list(by_step), _room(lines, len(by_step)))
  columns = [name for name in COLUMNS if any(name in line for line in lines)]
  values = {
    "columns": [
      {
        "name": name,
        "label": COLUMNS[name][0],
        "says": COLUMNS[name][1],
        "bound": bound(lines, name),
        "signed": _is_signed(lines, name),
      }
      for name in columns
    ],
    "steps": [
      {"step": step, "rows": [_row(line, columns) for line in by_step[step]]}
      for step in shown
    ],
  }
  left_out = ""
  if len(shown) < len(by_step):
    left_out = markup.note(
      f"{len(shown)} of {len(by_step)} steps; the others are in tokens.jsonl."
    )
  return _FORM + left_out + markup.data("token-data", values)


def spread(steps: Sequence[int], most: int) -> list[int]:
  """At most so many steps, the first and the last among them.

  Example: spread([1, 5, 10, 15, 20], 3) == [1, 10, 20].
  """
  if len(steps) <= most:
    return list(steps)
  if most < 2:
    return [steps[-1]]
  last = len(steps) - 1
  return [steps[round(i * last / (most - 1))] for i in range(most)]


def bound(lines: Sequence[Mapping[str, Any]], name: str) -> float:
  """What the scale of a column ends at; above 0.

  The largest absolute value but for the hundredth part that is larger still:
  one odd token would leave the others without colour.
  """
  found = sorted(abs(x) for line in lines for x in _numbers(line, name))
  if not found:
    return 1.0
  return found[int(_COVERED * (len(found) - 1))] or found[-1] or 1.0


def _numbers(line: Mapping[str, Any], name: str) -> list[float]:
  return [x for x in line.get(name, ()) if x is not None]


def _is_signed(lines: Sequence[Mapping[str, Any]], name: str) -> bool:
  """Whether a column has values on both sides of 0."""
  found = [x for line in lines for x in _numbers(line, name)]
  return min(found, default=0.0) < 0 < max(found, default=0.0)


def _room(lines: Sequence[Mapping[str, Any]], num_steps: int) -> int:
  """Steps that a page takes."""
  tokens = sum(len(line["tokens"]) for line in lines)
  return max(1, _MOST_TOKENS * num_steps // max(tokens, 1))


def _row(line: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
  return {
    "prompt": markup.clean(line["prompt"]),
    "outcome": markup.clean(line["outcome"]),
    "reward": line["reward"],
    "group": line["group"],
    "tokens": [markup.clean(text) for text in line["tokens"]],
    "values": [line.get(name) for name in columns],
  }


_FORM = (
  '<form class="choice" id="token-choice">'
  '<label>Step <select name="step"></select></label>'
  '<label>Colour <select name="column"></select></label></form>'
  '<p class="note" id="token-says"></p>'
  '<div class="legend" id="token-legend"><span></span><i></i><span></span>'
  "</div>"
  '<output class="token-told" id="token-told">Point at a token, or tap it,'
  " to read its values.</output>"
  '<div id="token-rows"></div>'
)
