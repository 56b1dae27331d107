"""Words of doubt in responses, counted on the host.

Epistemic verbalization is a model saying how sure it is of its own reasoning:
"wait", "maybe". See "Understanding Reasoning in LLMs through Strategic
Information Allocation under Uncertainty" (https://arxiv.org/abs/2603.15500,
below SIA) and "Why Does Self-Distillation (Sometimes) Degrade the Reasoning
Capability of LLMs?" (https://arxiv.org/abs/2603.24472, below SDD). SIA-code is
beanie00/strategic-information-allocation-llm-reasoning, SDD-code
beanie00/self-distillation-analysis.

Raw counts are ruled by loops in wrong answers, so everything comes split by
correctness and also per token; compare runs on the rate. A rule for reading,
not for training: only 15 to 37 % of such doubts are justified [paper excerpt:
SIA v2], and a reward on the words would be collected without the doubt
[inferred].

`marker_tokens` counts on device, approximately.
"""

from collections.abc import Callable, Mapping, Sequence
import re

import numpy as np

from rlvr_jax import errors
from rlvr_jax import names
from rlvr_jax import records
from rlvr_jax import settings

# Lists by name: sdd10 [code: SDD-code:eval/check_epistemic_tokens.py]; sia9
# is the same without "likely" [paper excerpt: SIA v2].
MARKERS = {
  "sdd10": (
    "wait", "hmm", "perhaps", "maybe", "actually", "alternatively", "seems",
    "might", "likely", "check",
  ),
  "sia9": (
    "wait", "hmm", "perhaps", "maybe", "actually", "alternatively", "seems",
    "might", "check",
  ),
}  # fmt: skip
MODES = ("substring", "word")

_OPEN, _CLOSE = "<think>", "</think>"
_PREFIX, _DELTA = "epistemic/", "epistemic/delta_vs_step0/"


def markers(choice: str | Sequence[str]) -> tuple[str, ...]:
  """The words of a preset, or given ones in lower case, each once.

  Raises:
    errors.UserError: for an unknown preset, an empty list or an empty word.
  """
  if isinstance(choice, str):
    if choice not in MARKERS:
      raise errors.UserError(
        f"markers is {choice!r}: {names.did_you_mean(choice, MARKERS)}, or"
        " give a tuple of words"
      )
    return MARKERS[choice]
  remedy = f"give one word or more, or one of {', '.join(MARKERS)}"
  settings.require(len(choice) > 0, f"markers is {choice!r}: {remedy}")
  for word in choice:
    settings.require(
      isinstance(word, str) and bool(word.strip()),
      f"markers holds {word!r}: {remedy}",
    )
  return tuple(dict.fromkeys(word.strip().lower() for word in choice))


def count_markers(
  text: str, markers: Sequence[str], mode: str = "substring"
) -> dict[str, int]:
  """How often each marker stands in a text.

  "substring" finds "wait" in "waiting" and "likely" in "unlikely", as the
  released code does, on the lower-cased text [code: SDD-code:
  eval/check_epistemic_tokens.py]. "word" wants no letter, digit or underscore
  beside the marker [inferred].

  Example: count_markers("Wait, waiting", ("wait",)) == {"wait": 2}, and
  {"wait": 1} by word.

  Args:
    text: of a response.
    markers: in lower case, from `markers`.
    mode: "substring" or "word".

  Raises:
    errors.UserError: for another mode.
  """
  if mode not in MODES:
    raise errors.UserError(
      f"mode is {mode!r}: {names.did_you_mean(mode, MODES)}"
    )
  text = text.lower()
  if mode == "substring":
    return {word: text.count(word) for word in markers}
  return {word: len(re.findall(_whole(word), text)) for word in markers}


def think_split(text: str) -> tuple[str, str]:
  """What comes before and after the first closing think tag.

  The opening tag may be missing, since templates often write it into the
  prompt. Without a closing tag a text is all answer, or, behind an opening
  tag, all thinking that was cut off [inferred].

  Example: think_split("a</think>b") == ("a", "b").

  Returns:
    Thinking and answer, without tags and without what precedes an opening tag.
  """
  before, closed, after = text.partition(_CLOSE)
  head, opened, thinking = before.partition(_OPEN)
  if not opened:
    return (head, after) if closed else ("", text)
  return thinking, after


def strip_thinking(text: str) -> str:
  """The text behind the first closing think tag, or all of it without one.

  What a demonstration shows of a response [code:
  SDD-code:verl/trainer/ppo/ray_trainer.py].
  """
  return think_split(text)[1] if _CLOSE in text else text


def repeated_ngram_frac(tokens: Sequence[int], n: int = 20) -> float:
  """Share of a response's n-grams that stood in it before, in [0, 1).

  An alarm for loops that needs no judge [inferred]. 0 if there is no n-gram.

  Example: repeated_ngram_frac([1, 2, 1, 2, 1], n=2) == 0.5.

  Raises:
    errors.UserError: if n is below 1.
  """
  settings.require(n >= 1, f"n is {n}: an n-gram has 1 token or more")
  ids = np.ascontiguousarray(tokens, dtype=np.int64)
  total = len(ids) - n + 1
  if total < 1:
    return 0.0
  distinct = {ids[start : start + n].tobytes() for start in range(total)}
  return 1.0 - len(distinct) / total


def text_means(
  texts: Sequence[str],
  num_tokens: Sequence[int],
  is_correct: Sequence[float],
  markers: Sequence[str],
  *,
  was_cut: Sequence[float] | None = None,
  tokens: Sequence[Sequence[int]] | None = None,
  count_tokens: Callable[[str], int] | None = None,
  ngram: int = 20,
) -> dict[str, records.Mean]:
  """Sums and counts over R judged responses, to be merged and then divided.

  The whole response is counted, thinking and answer [code, both papers].

  Args:
    texts: R decoded responses; leave out rows that were not judged.
    num_tokens: R lengths in tokens, end token included.
    is_correct: R verdicts of the verifier, 0 or 1.
    markers: from `markers`.
    was_cut: R bits, 1 on responses that reached the length limit.
    tokens: R rows of token ids, for the loop alarm.
    count_tokens: text -> its length in tokens, for the lengths of thinking and
      answer.
    ngram: of the loop alarm, in tokens.

  Returns:
    Means of Python floats. Those marked * also as `<name>/correct` and
    `<name>/incorrect`.
    epistemic/count_mean*: markers per response, by substring.
    epistemic/per_1k_tokens*: sum of counts over sum of lengths, not the mean
      of the responses' rates.
    epistemic/any_frac*: share of responses with a marker.
    epistemic/word/<w>*: one marker per response.
    epistemic/whole_words_mean*: markers per response, by word [inferred].
    length/mean, /correct, /incorrect: tokens per response.
    length/clip_frac: share of responses that were cut; with `was_cut`.
    length/think, length/answer: tokens over responses with a closing tag, tags
      left out; with `count_tokens`.
    repeat/ngram_frac*: mean of `repeated_ngram_frac`; with `tokens`.

  Raises:
    errors.UserError: if the arguments have different lengths.
  """
  for name, values in (
    ("num_tokens", num_tokens), ("is_correct", is_correct),
    ("was_cut", was_cut), ("tokens", tokens),
  ):  # fmt: skip
    settings.require(
      values is None or len(values) == len(texts),
      f"{name} has {0 if values is None else len(values)} entries for"
      f" {len(texts)} texts: give one per response",
    )
  right = np.asarray(is_correct, np.float64) > 0
  lengths = np.asarray(num_tokens, np.float64)
  found = [count_markers(text, markers) for text in texts]
  whole = [sum(count_markers(x, markers, "word").values()) for x in texts]
  counts = np.asarray([sum(row.values()) for row in found], np.float64)
  means = {
    **_split("epistemic/count_mean", counts, right),
    **_split("epistemic/per_1k_tokens", 1000.0 * counts, right, lengths),
    **_split("epistemic/any_frac", counts > 0, right),
    **_split("epistemic/whole_words_mean", whole, right),
  }
  for word in markers:
    one = [row[word] for row in found]
    means |= _split(f"epistemic/word/{word}", one, right)
  length = _split("length", lengths, right)
  means |= {"length/mean": length.pop("length"), **length}
  if was_cut is not None:
    means["length/clip_frac"] = _mean(np.asarray(was_cut) > 0)
  if count_tokens is not None:
    parts = [think_split(text) for text in texts if _CLOSE in text]
    for name, part in (("think", 0), ("answer", 1)):
      means[f"length/{name}"] = _mean([count_tokens(p[part]) for p in parts])
  if tokens is not None:
    loops = [repeated_ngram_frac(row, ngram) for row in tokens]
    means |= _split("repeat/ngram_frac", loops, right)
  return means


def mean_values(means: Mapping[str, records.Mean]) -> dict[str, float]:
  """The numbers to log, with epistemic/num_correct and _incorrect.

  A mean over nothing is left out, so that no curve shows a made-up 0; the two
  counts say why.
  """
  shown = {
    name: float(mean.total) / float(mean.count)
    for name, mean in means.items()
    if float(mean.count) > 0
  }
  for split in ("correct", "incorrect"):
    name = f"epistemic/count_mean/{split}"
    if name in means:
      shown[f"epistemic/num_{split}"] = float(means[name].count)
  return shown


def text_metrics(
  texts: Sequence[str],
  num_tokens: Sequence[int],
  is_correct: Sequence[float],
  markers: Sequence[str],
  **options,
) -> dict[str, float]:
  """`mean_values` of `text_means`, for a batch that one host holds whole."""
  return mean_values(
    text_means(texts, num_tokens, is_correct, markers, **options)
  )


def delta_vs_step0(
  metrics: Mapping[str, float], first: Mapping[str, float]
) -> dict[str, float]:
  """Changes since step 0, as epistemic/delta_vs_step0/<name>.

  Args:
    metrics: of now.
    first: of step 0.

  Returns:
    One entry per epistemic mean that both have; numbers of rows are no means.
  """
  return {
    _DELTA + name.removeprefix(_PREFIX): value - first[name]
    for name, value in metrics.items()
    if name.startswith(_PREFIX)
    and not name.startswith((_DELTA, f"{_PREFIX}num_"))
    and name in first
  }


def marker_warning(
  metrics: Mapping[str, float], markers: Sequence[str]
) -> str | None:
  """What to tell the user if no response of step 0 holds any marker."""
  if metrics.get("epistemic/any_frac") != 0:
    return None
  return (
    f"epistemic/any_frac is 0 at step 0: no response holds any of"
    f" {', '.join(markers)}, so set markers to words that this model writes"
  )


def _whole(word: str) -> str:
  """A pattern for the word that nothing continues to the left or right."""
  text = re.escape(word)
  # Looking back comes last: a pattern that begins with text is found quickly.
  start = rf"(?<!\w{text})" if re.match(r"\w", word[0]) else ""
  end = r"(?!\w)" if re.match(r"\w", word[-1]) else ""
  return text + start + end


def _mean(values, counts=None) -> records.Mean:
  values = np.asarray(values, np.float64)
  counts = np.ones(len(values)) if counts is None else counts
  return records.Mean(float(np.sum(values)), float(np.sum(counts)))


def _split(name, values, right, counts=None) -> dict[str, records.Mean]:
  """Means over all, right and wrong responses."""
  values = np.asarray(values, np.float64)
  counts = np.ones(len(values)) if counts is None else counts
  rows = {"": right | True, "/correct": right, "/incorrect": ~right}
  return {
    name + end: _mean(values[chosen], counts[chosen])
    for end, chosen in rows.items()
  }
