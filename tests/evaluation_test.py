"""Evaluation figures by hand, from outcomes that are written down."""

import jax
import numpy as np
import pytest

from rlvr_jax import evaluation
from rlvr_jax import records
from rlvr_jax import rewards
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import vocabulary
from tests import testing

_V = vocabulary.ARITHMETIC
_CONFIG = evaluation.EvaluationConfig(
  num_prompts=3, num_generations=4, batch_prompts=2
)
# Three prompts: four samples and the greedy one; completions as digits.
_TEXTS = [
  ["1", "1", "2", "9", "1"],
  ["5", "9", "9", "9", "9"],
  ["9", "9", "9", "8", "9"],
]
_OUTCOMES = [
  ["correct", "correct", "correct", "wrong", "correct"],
  ["correct", "wrong", "wrong", "unparsed", "wrong"],
  ["timeout", "unparsed", "truncated", "wrong", "wrong"],
]


def _prompt_set():
  rows = [
    {"prompt": f"{i}=", "demonstrations": "1", "answer": 1} for i in range(3)
  ]
  return jax.device_put(prompts_lib.prompt_set(rows, _V, 2, 3, ("answer",)))


def _decode(params, prompts):
  del params
  tokens = np.array(
    [
      [[*_V.encode(text), _V.eos_id, _V.pad_id] for text in row]
      for row in _TEXTS
    ]
  )
  outcomes = np.array(
    [[records.OUTCOMES.index(name) for name in row] for row in _OUTCOMES]
  )
  entropies = np.array([[0.1] * 4 + [9.0], [0.2] * 5, [0.6] * 5])
  indices = np.asarray(prompts.prompt_ids)
  lengths = np.array([[2.0] * 5, [2.0, 2.0, 3.0, 3.0, 1.0], [3.0] * 5])
  finished = np.array([[1.0] * 5, [1.0, 1.0, 1.0, 0.0, 0.0], [0.0] * 5])
  return evaluation.Decoded(
    tokens[indices],
    outcomes[indices],
    entropies[indices],
    lengths[indices],
    finished[indices],
  )


@pytest.fixture(scope="module")
def result():
  return evaluation.evaluate(
    prompts_lib.take,
    _decode,
    None,
    _prompt_set(),
    config=_CONFIG,
    vocabulary=_V,
    num_texts=2,
    answer_of=lambda text: text,
  )


@pytest.mark.parametrize(
  "name, values",
  [
    ("pass_at_1", [3 / 4, 1 / 4, 0]),
    ("pass_at_4", [1, 1, 0]),
    ("greedy", [1, 0, 0]),
    ("distinct_correct", [2, 1, 0]),
    ("entropy", [0.1, 0.2, 0.6]),
    ("parsed", [1, 3 / 4, 3 / 4]),
    ("length", [2, 2.5, 3]),
    ("cut_off", [0, 1 / 4, 1]),
    ("unjudged", [0, 0, 1 / 4]),
    # 1 has two votes and is right; 9 has three, and is wrong; so has 9.
    ("maj_at_4", [1, 0, 0]),
  ],
)
def test_figures_and_errors_by_hand(result, name, values):
  np.testing.assert_allclose(result.metrics[name], np.mean(values))
  np.testing.assert_allclose(result.per_problem[name], values)
  error = np.std(values, ddof=1) / 3**0.5
  np.testing.assert_allclose(result.metrics[f"{name}_se"], error)


def test_the_first_figure_is_the_one_people_ask_for(result):
  assert next(iter(result.metrics)) == "pass_at_1"


def test_samples_are_texts_with_verdicts(result):
  assert result.samples == [
    {"prompt": "0=", "completion": "1", "outcome": "correct"},
    {"prompt": "1=", "completion": "5", "outcome": "correct"},
  ]


def test_decoding_draws_the_same_every_time_and_one_row_greedily():
  model, params = testing.tiny_model(vocab_size=32)
  config = evaluation.EvaluationConfig(
    num_prompts=3, num_generations=3, batch_prompts=3
  )
  sample = evaluation.make_sample(model, config, 4, _V, seed=0)

  @jax.jit
  def decode(params, prompts):
    rollouts = sample(params, prompts)
    verify = testing.low_first_token_outcomes
    outcomes = rewards.device_outcomes(rollouts, verify)
    return evaluation.summed_up(rollouts, outcomes)

  prompts = _prompt_set().prompts
  first, second = decode(params, prompts), decode(params, prompts)
  jax.tree.map(np.testing.assert_array_equal, first, second)
  assert first.tokens.shape == (3, 4, 4)
  greedy = first.tokens[:, -1, 0]
  hidden = testing.hidden_states(model, params, prompts.prompt_tokens)
  likely = np.argmax(hidden[:, -1] @ params["lm_head"], axis=1)
  np.testing.assert_array_equal(greedy, likely)
