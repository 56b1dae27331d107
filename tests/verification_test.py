"""Rollouts out to verifiers of texts, outcomes back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import records
from rlvr_jax import verification
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import tasks
from rlvr_jax.data import texts
from rlvr_jax.data import vocabulary
from rlvr_jax.verifiers import pool as pool_lib

_V = vocabulary.ARITHMETIC


class _Pool:
  """Says of each response what its first character stands for."""

  def __init__(self):
    self.items = []

  def verify(self, items):
    self.items += items
    names = {"1": "correct", "2": "wrong", "3": "unparsed", "4": "timeout"}
    unread = "gold_unparsed"
    return [
      pool_lib.Verdict(
        unread if gold == "bad" else names[response.strip("\\boxed{}")[0]],
        0.0,
        None,
        "",
      )
      for response, gold in items
    ]


def _rollouts(responses, finished, golds):
  """Two samples of each prompt; texts right-padded, with their end."""
  rows = [(*_V.encode(text), _V.eos_id) for text in responses]
  tokens, mask = prompts_lib.pad_right(rows, 5, _V.pad_id)
  groups = len(golds)
  return records.RolloutBatch(
    prompts=records.PromptBatch(
      prompt_tokens=jnp.zeros((groups, 1), jnp.int32),
      prompt_mask=jnp.ones((groups, 1)),
      prompt_ids=jnp.arange(groups),
      answers={texts.GOLD: jnp.asarray(texts.bytes_of(golds))},
    ),
    completion_tokens=jnp.asarray(tokens),
    completion_mask=jnp.asarray(mask),
    group_ids=jnp.arange(len(rows)) // 2,
    sample_index=jnp.arange(len(rows)) % 2,
    valid=jnp.ones(len(rows)),
    finished=jnp.asarray(finished, jnp.float32),
  )


def test_texts_go_out_with_their_answers_and_outcomes_come_back():
  pool = _Pool()
  found = verification.judge(
    _rollouts(["1+1", "2", "3", "42"], [1, 1, 1, 1], ["7", "π/2"]), pool, _V
  )
  assert pool.items == [("1+1", "7"), ("2", "7"), ("3", "π/2"), ("42", "π/2")]
  assert [records.OUTCOMES[i] for i in found] == [
    "correct",
    "wrong",
    "unparsed",
    "timeout",
  ]
  assert found.dtype == jnp.int32


def test_what_was_cut_off_is_truncated_unless_it_is_right():
  found = verification.judge(
    _rollouts(["1", "2", "3", "4"], [0, 0, 0, 0], ["7", "8"]), _Pool(), _V
  )
  assert [records.OUTCOMES[i] for i in found] == [
    "correct",
    "truncated",
    "truncated",
    # No verdict, so nothing is known of it.
    "timeout",
  ]


def test_shapes_can_be_followed_without_a_verdict():
  rollouts = _rollouts(["1", "2"], [1, 1], ["7"])
  found = jax.eval_shape(lambda x: verification.judge(x, None, _V), rollouts)
  assert (found.shape, found.dtype) == ((2,), jnp.int32)


@pytest.mark.parametrize(
  "name, expected",
  [
    ("math", True),
    ("numeric", True),
    ("countdown_outcomes", False),
    ("tests.made_checkpoint:even_length", True),
    ("tests.testing:low_first_token_outcomes", False),
  ],
)
def test_a_verifier_reads_what_its_arguments_say(name, expected):
  assert verification.reads_texts(name) is expected
  assert (verification.answer_reader(name) is not None) is expected


def test_votes_are_for_what_is_in_the_box():
  answer = verification.answer_reader("math")
  assert answer(r"so \boxed{1 / 2}") == answer(r"thus \boxed{1/2}.") == "1/2"
  assert answer("no box") is None


def test_bytes_hold_any_text():
  golds = ["7", "½ ≤ x", ""]
  rows = texts.bytes_of(golds)
  assert [texts.text_of(row) for row in rows] == golds


def _task(golds):
  prompts = records.PromptBatch(
    prompt_tokens=np.zeros((len(golds), 1), np.int32),
    prompt_mask=np.ones((len(golds), 1)),
    prompt_ids=np.arange(len(golds)),
    answers={texts.GOLD: texts.bytes_of(golds)},
  )
  nothing = np.zeros(len(golds), np.int32)
  return tasks.Task(
    _V,
    train=prompts_lib.PromptSet(prompts, nothing, nothing, nothing),
    validation=None,
    test=None,
    sources={"train": tuple(f"file:{i + 1}" for i in range(len(golds)))},
  )


def test_answers_that_cannot_be_read_are_named_before_the_run():
  pool = _Pool()
  verification.check_golds(pool, _task(["1", "-20", "1/2"]))
  # Whole numbers need no look.
  assert pool.items == [(r"\boxed{1/2}", "1/2")]
  with pytest.raises(errors.UserError, match="^file:3 has the answer 'bad'"):
    verification.check_golds(pool, _task(["1/2", "5", "bad", "bad"]))


def test_a_builders_task_has_no_texts_to_read():
  data = tasks.DataConfig("countdown", "three", "math", 9)
  task = _task(["1"])._replace(sources={})
  with (
    pytest.raises(errors.UserError, match="choose a verifier on device"),
    verification.opened(data, pool_lib.PoolConfig(), task),
  ):
    pass
