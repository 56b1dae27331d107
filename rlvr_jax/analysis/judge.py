"""Numbers from labels that a judge gave to responses.

SIA asks a language model for them, as JSON [paper excerpt: v2]. Here is only
what comes after: the form of an answer, and what is computed from it. A judge
is any function that fills `ResponseLabel` and `DoubtLabel`; none ships with
the library, and no prompt of the paper does.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, Protocol

from rlvr_jax import errors
from rlvr_jax import names
from rlvr_jax import records
from rlvr_jax import settings

# Kinds of collapse, and what a self-correction answered to: an error that
# showed (reactive) or doubt alone (proactive) [paper excerpt: v2].
COLLAPSES = (
  "repetition",
  "topic drift",
  "incoherence",
  "infinite loop",
  "hallucination spiral",
)
CORRECTIONS = ("reactive", "proactive")


@dataclasses.dataclass(frozen=True)
class ResponseLabel:
  """What the judge says of one response.

  A correct response may hold a self-correction: a wrong path, recognised and
  abandoned, before the right answer. A wrong one may have collapsed.
  """

  is_correct: bool
  # One of CORRECTIONS; correct responses only.
  correction: str | None = None
  # The 1 to 5 words that set it off.
  trigger: str | None = None
  # One of COLLAPSES; wrong responses only.
  collapse: str | None = None
  # The sentence where it begins.
  onset: str | None = None
  # As the judge words it; nothing is computed from it.
  confidence: str | None = None

  def __post_init__(self):
    for name, valid, belongs, kind in (
      ("correction", CORRECTIONS, self.is_correct, "correct"),
      ("collapse", COLLAPSES, not self.is_correct, "wrong"),
    ):
      value = getattr(self, name)
      if value is None:
        continue
      if value not in valid:
        raise errors.UserError(
          f"{name} is {value!r}: {names.did_you_mean(value, valid)}"
        )
      settings.require(
        belongs,
        f"{name} is {value!r}, but only a {kind} response has one: leave it"
        " out or mend is_correct",
      )


@dataclasses.dataclass(frozen=True)
class DoubtLabel:
  """What the judge says of one place where a response doubts itself."""

  # Whether the path just before it was wrong indeed.
  was_wrong: bool
  confidence: str | None = None


class Judge(Protocol):
  """Labels a response; brings its own model, prompt and network, if any."""

  def __call__(
    self, *, prompt: str, response: str, gold: str, is_correct: bool
  ) -> ResponseLabel: ...


def response_label(answer: Mapping[str, Any], path: str) -> ResponseLabel:
  """A judge's JSON object as a label.

  Args:
    answer: fields by name.
    path: where it came from, for the message, such as "labels[3]".

  Raises:
    errors.UserError: naming the first field that is unknown or not right.
  """
  return settings.typed(ResponseLabel, answer, path)


def judge_means(
  labels: Sequence[ResponseLabel], doubts: Sequence[DoubtLabel] = ()
) -> dict[str, records.Mean]:
  """Shares as sums and counts, to be merged and then divided.

  Args:
    labels: of N responses.
    doubts: of places of doubt, from any responses.

  Returns:
    judge/direct_fluency: correct without self-correction, of N.
    judge/proactive_rate: corrected on doubt alone, of N.
    judge/collapse_rate: collapsed, of the wrong ones.
    judge/precision: doubts on paths that were wrong, of all doubts.
  """
  share = lambda chosen, rows: records.Mean(
    float(sum(map(chosen, rows))), float(len(rows))
  )
  wrong = [label for label in labels if not label.is_correct]
  return {
    "judge/direct_fluency": share(
      lambda x: x.is_correct and x.correction is None, labels
    ),
    "judge/proactive_rate": share(
      lambda x: x.correction == "proactive", labels
    ),
    "judge/collapse_rate": share(lambda x: x.collapse is not None, wrong),
    "judge/precision": share(lambda x: x.was_wrong, doubts),
  }
