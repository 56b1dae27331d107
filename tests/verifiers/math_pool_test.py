"""The library in a pool: verdicts are the same however it is run."""

import random
import time

import pytest

from rlvr_jax import errors
from rlvr_jax.verifiers import pool as pool_lib
from tests.verifiers import pairs

pytest.importorskip("math_verify")

from rlvr_jax.verifiers import math_answers

_DEADLINE = 3.0


def _pool(**changes):
  return pool_lib.Pool(
    pool_lib.PoolConfig(
      **{"num_workers": 2, "deadline_secs": 20.0, "max_unjudged_frac": 1.0}
      | changes
    )
  )


def test_verdicts_depend_on_neither_order_nor_workers():
  items = [(response, f"${gold}$") for gold, response in pairs.PAIRS[::4]]
  alone = [math_answers.equivalent(*item) for item in items]
  order = random.Random(0).sample(range(len(items)), len(items))
  with _pool(num_workers=2, recycle_after=30) as pool:
    shuffled = pool.verify([items[row] for row in order])
  with _pool(num_workers=1) as pool:
    straight = pool.verify(items)
  pick = lambda verdicts: [(v.outcome, v.answer) for v in verdicts]
  assert pick(straight) == [(j.outcome, j.answer) for j in alone]
  assert pick(shuffled) == [pick(straight)[row] for row in order]


def test_an_answer_without_end_costs_its_own_deadline():
  good = [(r"\boxed{0.5}", "1/2")] * 10
  towers = [(rf"\boxed{{{x}}}", "5") for x in (r"9^{9^{9^9}}", "10^{10^{10}}")]
  with _pool(deadline_secs=_DEADLINE) as pool:
    start = time.monotonic()
    verdicts = pool.verify([*good, *towers, *good])
    took = time.monotonic() - start
  outcomes = [verdict.outcome for verdict in verdicts]
  assert outcomes[:10] == outcomes[12:] == ["correct"] * 10
  assert set(outcomes[10:12]) <= {"timeout", "crash"}
  assert "timeout" in outcomes
  assert took < 4 * _DEADLINE


def test_a_missing_library_is_one_sentence(tmp_path, monkeypatch):
  (tmp_path / "math_verify.py").write_text("raise ImportError('not here')")
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(errors.UserError) as caught, _pool():
    pass
  assert str(caught.value) == (
    "verifier 'math' needs the package math-verify: pip install"
    " 'math-verify[antlr4_13_2]'"
  )
