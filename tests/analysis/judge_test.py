"""Labels as a judge gives them, and what is computed from them."""

import dataclasses
import random

import pytest

from rlvr_jax import errors
from rlvr_jax.analysis import judge

_LABELS = (
  judge.ResponseLabel(is_correct=True),
  judge.ResponseLabel(is_correct=True, correction="proactive", trigger="wait"),
  judge.ResponseLabel(is_correct=True, correction="reactive"),
  judge.ResponseLabel(is_correct=False, collapse="repetition"),
  judge.ResponseLabel(is_correct=False),
  judge.ResponseLabel(is_correct=False, collapse="topic drift"),
)
_DOUBTS = tuple(judge.DoubtLabel(was_wrong=i == 0) for i in range(4))


def _values(means):
  return {name: float(mean.value()) for name, mean in means.items()}


def test_shares_by_hand():
  assert _values(judge.judge_means(_LABELS, _DOUBTS)) == pytest.approx(
    {
      # (3 - 2) / 6, 1 / 6, 2 / 3 and 1 / 4.
      "judge/direct_fluency": 1 / 6,
      "judge/proactive_rate": 1 / 6,
      "judge/collapse_rate": 2 / 3,
      "judge/precision": 1 / 4,
    }
  )


def test_nothing_to_judge_is_no_nan():
  assert set(_values(judge.judge_means(())).values()) == {0.0}
  means = judge.judge_means(_LABELS[:3])
  assert means["judge/collapse_rate"].count == 0
  assert means["judge/precision"].count == 0


def test_neither_order_nor_split_matters():
  whole = judge.judge_means(_LABELS, _DOUBTS)
  labels = random.Random(0).sample(_LABELS, len(_LABELS))
  first = judge.judge_means(labels[:2], _DOUBTS[:1])
  second = judge.judge_means(labels[2:], _DOUBTS[1:])
  for name, mean in whole.items():
    assert first[name].merge(second[name]) == mean


def test_an_answer_becomes_a_label():
  answer = {"is_correct": False, "collapse": "infinite loop", "onset": "So"}
  found = judge.response_label(answer, "labels[0]")
  assert dataclasses.asdict(found) == answer | {
    "correction": None,
    "trigger": None,
    "confidence": None,
  }


@pytest.mark.parametrize(
  "answer, message",
  [
    ({"is_correct": 1}, r"labels\[3\].is_correct is 1, a int"),
    ({"is_correct": True, "kind": "x"}, r"labels\[3\] has no key 'kind'"),
    (
      {"is_correct": False, "collapse": "loop"},
      "collapse is 'loop': .*choose one of",
    ),
    (
      {"is_correct": True, "collapse": "repetition"},
      "only a wrong response has one",
    ),
    (
      {"is_correct": False, "correction": "reactive"},
      "only a correct response has one",
    ),
  ],
)
def test_answers_that_make_no_sense_are_refused(answer, message):
  with pytest.raises(errors.UserError, match=message):
    judge.response_label(answer, "labels[3]")
