r"""No text hangs a pool, ends it, or passes for the gold."""

import collections
import itertools
import json
import time
import unicodedata

import pytest

from rlvr_jax.verifiers import fragments
from rlvr_jax.verifiers import hostile
from rlvr_jax.verifiers import pool as pool_lib
from rlvr_jax.verifiers import worker
from tests.verifiers import drawn

_DEADLINE = 2.0
# What one more second is for: to notice, and to kill the worker.
_SLACK = 1.0
_GOLD, _FRACTION = "40817", r"\frac{341}{729}"
_NUMBERS = (_GOLD, _FRACTION, "25.75", r"12.5\%", "-4096")
_OTHERS = (
  r"17\sqrt{13}",
  "(-13, 19)",
  "[-13, 19)",
  r"\{-13, 19, 31\}",
  "31x^{2} - 17x + 5",
)
# Verifiers of answers, and the golds that they read.
_VERIFIERS = {
  "exact": (*_NUMBERS, *_OTHERS),
  "numeric": _NUMBERS,
  "math": (*_NUMBERS, *_OTHERS),
  "math_boxed": (*_NUMBERS, *_OTHERS),
}
# Every so many items, whether the worker is still of sound mind.
_CONTROLS = (("\\boxed{40817}", "correct"), ("\\boxed{40818}", "wrong"))
_CONTROL_EVERY = 40
_UNJUDGED = ("timeout", "crash")


class _Timed(pool_lib.Pool):
  """Notes how long each item has its worker, the time to kill it included."""

  def __init__(self, config):
    super().__init__(config)
    self.held = []

  def _judge(self, child, response, gold):
    start = time.monotonic()
    verdict, keep = super()._judge(child, response, gold)
    if not keep:
      child.kill()
    self.held.append(time.monotonic() - start)
    return verdict, keep


def _opened(verifier, **changes):
  if verifier.startswith("math"):
    pytest.importorskip("math_verify")
  return _Timed(
    pool_lib.PoolConfig(
      **{
        "verifier": verifier,
        "num_workers": 2,
        "deadline_secs": _DEADLINE,
        "max_unjudged_frac": 1.0,
      }
      | changes
    )
  )


def _verdicts(pool, cases):
  """Of (case, gold) pairs, with the laws that hold for any response.

  Returns:
    (case, verdict) pairs.
  """
  items, judged = [], []
  for number, (case, gold) in enumerate(cases):
    if number % _CONTROL_EVERY == 0:
      items += [(response, _GOLD) for response, _ in _CONTROLS]
      judged += [None] * len(_CONTROLS)
    items.append((case.response, gold))
    judged.append(case)
  verdicts = pool.verify(items)
  assert len(pool.held) == len(items)
  assert max(pool.held) <= _DEADLINE + _SLACK
  controls = [v.outcome for c, v in zip(judged, verdicts, strict=True) if not c]
  expected = itertools.cycle(outcome for _, outcome in _CONTROLS)
  assert controls == list(itertools.islice(expected, len(controls)))
  pairs = [(c, v) for c, v in zip(judged, verdicts, strict=True) if c]
  for case, verdict in pairs:
    told = (case.name, ascii(case.response[-300:]), verdict)
    failed = verdict.outcome in _UNJUDGED
    # A verdict is the verifier's own word, or else it has a reason.
    assert failed == bool(verdict.message), told
    assert verdict.seconds <= _DEADLINE + _SLACK, told
    assert failed or verdict.outcome in ("correct", "wrong", "unparsed"), told
    if case.is_correct:
      assert failed or verdict.outcome == "correct", told
  return pairs


def _taken_for_right(pairs):
  """Names of the cases that are wrong; with an example of each."""
  return {
    case.name: ascii(case.response[-300:])
    for case, verdict in pairs
    if verdict.outcome == "correct" and case.is_correct is False
  }


def _by_hand(*golds):
  return [(case, gold) for gold in golds for case in hostile.cases(gold)]


def _generated(seed, number, golds):
  cases = hostile.generated(seed, number, golds)
  return list(zip(cases, itertools.cycle(golds), strict=False))


@pytest.mark.parametrize("verifier", _VERIFIERS)
def test_the_list_made_by_hand(verifier):
  """With the gold it is longest for, and what is nested in another one."""
  nested = [
    (case, gold)
    for case, gold in _by_hand(_FRACTION)
    if case.name.partition("/")[0] in ("several", "hidden", "relation")
  ]
  by_hand = _by_hand(_GOLD)
  if verifier == "math_boxed":
    # The same code as of "math", and these take longest; all are in the slow
    # test.
    by_hand = [
      x for x in by_hand if not x[0].name.startswith(("endless/", "deep/"))
    ]
  drawn = _generated(0, 300, (_GOLD, _FRACTION))
  with _opened(verifier) as pool:
    pairs = _verdicts(pool, by_hand + nested + drawn)
  assert not _taken_for_right(pairs)
  unsure = {case.name for case, x in pairs if x.outcome in _UNJUDGED}
  # Only what evaluates an answer can fail to finish.
  if verifier == "math":
    endless = {f"endless/{name}" for name in fragments.ENDLESS}
    assert endless - unsure == {"endless/python_power"}
  elif verifier != "math_boxed":
    assert not unsure


def test_numbers_with_units_and_percents():
  options = {"strip_units": True, "percent": "number"}
  with _opened("numeric", options=options) as pool:
    pairs = _verdicts(pool, _by_hand(_GOLD) + _generated(1, 300, (_GOLD,)))
  right = _taken_for_right(pairs)
  # So told, it takes any words for a unit.
  assert set(right) <= {
    "hidden/rejected",
    "relation/times_unknown",
    "generated/wrapped_unknown",
  }
  assert not [case for case, v in pairs if v.outcome in _UNJUDGED]


def test_texts_go_to_a_worker_and_back():
  odd = [*fragments.BYTES.values(), *fragments.GRADER.values(), "\x00" * 9_999]
  odd += [chr(code) for code in range(0xD7F0, 0xE010)]
  with _opened("tests.verifiers.obedient:obey") as pool:
    same = pool.verify([(text, text) for text in odd])
    other = pool.verify([(text, text + "\x00") for text in odd])
  assert {v.outcome for v in same} == {"correct"}
  assert {v.outcome for v in other} == {"wrong"}
  # And back, in the reply.
  answers = [f"a{text}b" for text in odd if not set(text) & set("{}\\")]
  with _opened("exact") as pool:
    back = pool.verify([(rf"\boxed{{{text}}}", "1") for text in answers])
  assert [v.answer for v in back] == [text[:2_000] for text in answers]


def test_ten_million_characters_arrive():
  for noise in ("\x00", "\ud800", "\U0001f9ee", "7"):
    response = noise * 10_000_000 + r"\boxed{40817}"
    with _opened("exact", num_workers=1, deadline_secs=60.0) as pool:
      (verdict,) = pool.verify([(response, _GOLD)])
    assert (verdict.outcome, verdict.answer) == ("correct", _GOLD)


def test_a_reply_can_tell_of_any_exception():
  def fails(response, gold):
    raise ValueError(response)

  for text in fragments.BYTES.values():
    reply = worker.judge(fails, text, _GOLD)
    assert json.loads(json.dumps(reply).encode()) == reply
    assert reply["message"] == f"ValueError: {text}"


def test_the_wording_depends_on_the_seed_alone():
  first = list(hostile.generated(3, 200, (_GOLD, _FRACTION)))
  assert list(hostile.generated(3, 100, (_GOLD, _FRACTION))) == first[:100]
  other = list(hostile.generated(4, 200, (_GOLD, _FRACTION)))
  assert sum(x == y for x, y in zip(first, other, strict=True)) < 20
  labels = collections.Counter(case.is_correct for case in first)
  assert min(labels[x] for x in (True, False, None)) > 10


def test_every_case_by_hand_has_a_name_of_its_own():
  for gold in _VERIFIERS["math"]:
    names = [case.name for case in hostile.cases(gold)]
    assert len(set(names)) == len(names) > 380, gold


def _by_hypothesis(number):
  cases = [
    hostile.Case("hypothesis", x, _truth(x)) for x in drawn.texts(number)
  ]
  return [(case, _GOLD) for case in cases]


def _truth(response):
  """False, but where the digits of the gold stand in a row somehow."""
  text = unicodedata.normalize("NFKC", response)
  return None if _GOLD in "".join(filter(str.isdigit, text)) else False


@pytest.mark.slow
@pytest.mark.parametrize("verifier", _VERIFIERS)
def test_ten_thousand_responses(verifier):
  golds = _VERIFIERS[verifier]
  found = _by_hypothesis(2_000)
  by_hand = _by_hand(*golds)
  number = 10_000 - len(found)
  assert len(found) > 1_500
  with _opened(verifier) as pool:
    pairs = _verdicts(pool, by_hand + found + _generated(0, number, golds))
  assert len(pairs) == len(by_hand) + 10_000
  outcomes = collections.Counter(verdict.outcome for _, verdict in pairs)
  print(verifier, len(pairs), dict(outcomes), f"{max(pool.held):.2f} s at most")
  assert not _taken_for_right(pairs)
