"""How a judged response ended; free of jax, so that verifiers start fast."""

from typing import NamedTuple

# How a row ended, in the order of `RolloutBatch.outcomes`.
OUTCOMES = (
  "correct",
  "wrong",
  "unparsed",
  "truncated",
  "gold_unparsed",
  "timeout",
  "crash",
)
# Rows the verifier could not judge: masked out of the loss, never scored 0.
UNJUDGED = ("gold_unparsed", "timeout", "crash")


class Judged(NamedTuple):
  """What a verifier of texts says of one response.

  Example: Judged("correct", "1/2").

  Attributes:
    outcome: a name of `OUTCOMES`.
    answer: the part of the response that was judged; None if there is none.
  """

  outcome: str
  answer: str | None
