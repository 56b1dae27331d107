"""The chain verifier and its twin; the graded reward of the paper."""

import jax.numpy as jnp
import numpy as np

from rlvr_jax import rewards
from rlvr_jax.data import vocabulary
from tests.rewards import twins

_V = vocabulary.ARITHMETIC
_LENGTH = 20

# Text and outcome for the answer 9.
_CASES = [
  ("1+5=6,6-4=2,2+7=9#9", "correct"),
  ("#9", "correct"),
  ("#8#9", "correct"),
  ("#9#8", "wrong"),
  ("9", "unparsed"),
  ("9#", "unparsed"),
  ("#09", "unparsed"),
  ("#9,", "unparsed"),
  ("#-9", "unparsed"),
  ("# 9", "unparsed"),
  ("#9999", "wrong"),
  ("#99999", "unparsed"),
  ("1+5=6;9", "unparsed"),
  ("", "unparsed"),
  (None, "truncated"),
]


def _device(rows, answers):
  outcomes = rewards.chain_outcomes(
    completion_tokens=jnp.asarray(rows, jnp.int32),
    answer=jnp.asarray(answers, jnp.int32),
  )
  return twins.names(outcomes)


def test_chains_are_judged_as_written_here():
  rows = [twins.encoded(text, _V, _LENGTH, "1") for text, _ in _CASES]
  device = _device(rows, [9] * len(_CASES))
  for (text, expected), ours in zip(_CASES, device, strict=True):
    twin = rewards.chain_outcome_of_text(text, 9)
    assert (text, ours, twin) == (text, expected, expected)


def test_random_chains_agree_with_the_twin():
  rng = np.random.default_rng(0)
  symbols = [*_V.encode("0129##,-="), _V.eos_id, _V.pad_id]
  rows = rng.choice(symbols, (5000, 8))
  answers = rng.choice([0, 1, 2, 9, 12], 5000)
  device = _device(rows, answers)
  for row, answer, ours in zip(rows, answers, device, strict=True):
    text = twins.text_of(row, _V)
    assert ours == rewards.chain_outcome_of_text(text, answer)
  assert {"correct", "wrong", "unparsed", "truncated"} == set(device)


def test_closeness_gives_the_values_of_the_dossier():
  floats = lambda *values: jnp.asarray(values, jnp.float32)
  found = rewards.closeness(
    predicted=floats(5.0, 5.2, 0.0, 1000.5, jnp.nan),
    answer=floats(5.0, 5.0, 5.0, 1000.0, 5.0),
  )
  np.testing.assert_allclose(found, [1.0, 0.88, 0.0, 0.74975, 0.0], atol=1e-5)
