"""What dumps hold, and a sentence for each thing that cannot be right."""

import json

import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax.data import tokenizer as tokenizer_lib
from rlvr_jax.rollouts import dumps
from tests.data import made

_ROW = {
  "prompt_tokens": [5, 6],
  "completion_tokens": [7, 8, 1],
  "reward": 1.0,
  "group": 0,
  "logprobs": [-0.5, -1.0, 0.0],
}


def _write(tmp_path, rows):
  path = tmp_path / "dump.jsonl"
  path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
  return path


def _read(tmp_path, rows, kind="rollouts", fields=(), tokenizer=None):
  keys = dumps.keys_of(kind, fields)
  return dumps.read(_write(tmp_path, rows), keys, tokenizer)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tokenizer")
  made.make_tokenizer(folder, "qwen2.5")
  return tokenizer_lib.load(folder)


def test_a_row_is_read(tmp_path):
  (row,) = _read(tmp_path, [_ROW | {"is_correct": True, "finished": 0}])
  assert row.source.endswith("dump.jsonl:1")
  assert (row.prompt, row.completion, row.reward) == ((5, 6), (7, 8, 1), 1.0)
  assert row.group == 0
  assert (row.columns["is_correct"], row.columns["finished"]) == (1.0, 0.0)
  np.testing.assert_array_equal(row.columns["logprobs"], [-0.5, -1.0, 0.0])


def test_other_names_are_mapped_and_names_left_out(tmp_path):
  row = {"ids": {"in": [5], "out": [7]}, "score": 2, "logprobs": "unread"}
  fields = (
    "prompt_tokens=ids.in",
    "completion_tokens=ids.out",
    "reward=score",
    "logprobs=",
  )
  (found,) = _read(tmp_path, [row], fields=fields)
  assert (found.prompt, found.completion, found.reward) == ((5,), (7,), 2.0)
  # Without a group, those of the same prompt belong together.
  assert found.group == (5,)
  assert found.columns == {}


@pytest.mark.parametrize(
  "change, expected",
  [
    ({"prompt_tokens": []}, "in 'prompt_tokens': give a list of token ids"),
    (
      {"prompt_tokens": None},
      "nothing in 'prompt': give prompt_tokens or a te",
    ),
    ({"completion_tokens": [7, -1]}, r"has \[7, -1\] in 'completion_tokens'"),
    ({"completion_tokens": [7, 1.0]}, "give a list of token ids"),
    ({"completion_tokens": []}, "at least one"),
    (
      {"completion_tokens": None},
      "and nothing in 'completion': give completio",
    ),
    ({"reward": None}, "and nothing in 'reward': give one finite number"),
    (
      {"reward": {"score": 1}},
      "in 'reward': give one finite number, by --fiel",
    ),
    ({"reward": float("nan")}, "has nan in 'reward'"),
    ({"reward": True}, "has True in 'reward'"),
    ({"logprobs": [-1.0]}, "in 'logprobs': give one number for each of the 3"),
    (
      {"logprobs": [-1, float("nan"), 0]},
      r"has nan in 'logprobs\[1\]': log-pr",
    ),
    (
      {"logprobs": [-1, 0, 0.3]},
      r"has 0.3 in 'logprobs\[2\]'.*finite and at m",
    ),
    ({"logprobs": [-1, float("-inf"), 0]}, r"has -inf in 'logprobs\[1\]'"),
    (
      {"logprobs": None},
      "nothing in 'logprobs', and .*:1 has: fill it in ever",
    ),
    ({"group": None}, "nothing in 'group', and .*dump.jsonl:1 has"),
    ({"group": [1]}, r"has \[1\] in 'group': give a number or a text"),
    (
      {"is_correct": 0.5},
      "has 0.5 in 'is_correct': give true or false, 1 or 0",
    ),
    (
      {"finished": "aborted"},
      "'finished'.* completed or truncated; leave a li",
    ),
    (
      {"mask": [1, 0, 1]},
      "in 'mask': only completions of which the policy wro",
    ),
    (
      {"tokens": [5, 6], "completion_length": 2},
      "has 2 in 'completion_length': give a number between 0 and the 2 tokens",
    ),
  ],
)
def test_what_cannot_be_right_is_one_sentence(tmp_path, change, expected):
  with pytest.raises(errors.UserError, match=expected) as caught:
    _read(tmp_path, [_ROW, _ROW | change])
  assert "dump.jsonl:2 has" in str(caught.value)
  assert "\n" not in str(caught.value)


def test_a_dump_without_rows_and_an_unknown_name_are_refused(tmp_path):
  with pytest.raises(errors.UserError, match="has no rows"):
    _read(tmp_path, [])
  with pytest.raises(errors.UserError, match="did you mean 'reward'"):
    dumps.keys_of("trl", ["rewards=accuracy_reward"])
  with pytest.raises(errors.UserError, match="write name=key"):
    dumps.keys_of("trl", ["reward"])


def test_texts_need_a_tokenizer(tmp_path):
  row = {"input": "1+1?", "output": "2", "score": 1.0}
  with pytest.raises(errors.UserError, match="'input': a text needs --tokeniz"):
    _read(tmp_path, [row], "verl")


def test_a_dump_of_verl(tmp_path, tokenizer):
  row = {
    "input": "user\nWhat is 12?\nassistant\n",
    "output": "The answer is 42.",
    "gts": "42",
    "score": 1.0,
    "step": 3,
    "acc": True,
  }
  rows = _read(tmp_path, [row], "verl", ["is_correct=acc"], tokenizer)
  assert tokenizer.text(rows[0].prompt) == row["input"]
  assert tokenizer.text(rows[0].completion) == row["output"]
  assert rows[0].columns == {"is_correct": 1.0}


def test_a_dump_of_trl(tmp_path, tokenizer):
  pyarrow = pytest.importorskip("pyarrow")
  from pyarrow import parquet

  path = tmp_path / "completions_00001.parquet"
  table = pyarrow.table(
    {
      "step": [1, 1],
      "prompt": ["What is 12?"] * 2,
      "completion": ["42", "30"],
      "accuracy_reward": [1.0, 0.0],
      "advantage": [0.7, -0.7],
    }
  )
  parquet.write_table(table, path)
  with pytest.raises(errors.UserError, match=":1 has .* nothing in 'reward'"):
    dumps.read(path, dumps.keys_of("trl"), tokenizer)
  keys = dumps.keys_of("trl", ["reward=accuracy_reward"])
  first, second = dumps.read(path, keys, tokenizer)
  assert first.group == second.group
  assert (first.reward, second.reward) == (1.0, 0.0)


def test_a_dump_of_slime(tmp_path):
  row = {
    "group_index": 4,
    "index": 9,
    "prompt": "What is 12?",
    "tokens": [5, 6, 7, 8, 9],
    "response": "...",
    "response_length": 3,
    "reward": 1.0,
    "loss_mask": [1, 1, 1],
    "rollout_log_probs": [-1.0, -2.0, -3.0],
    "teacher_log_probs": None,
    "status": "truncated",
  }
  taught = row | {"teacher_log_probs": [-1, -1, -1], "status": "completed"}
  first, second = _read(tmp_path, [row, taught], "slime")
  assert (first.prompt, first.completion) == ((5, 6), (7, 8, 9))
  assert first.group == 4
  assert first.columns["finished"] == 0.0 and second.columns["finished"] == 1.0
  assert "teacher_logprobs" not in first.columns
  np.testing.assert_array_equal(second.columns["teacher_logprobs"], [-1] * 3)


def test_the_end_that_a_text_lacks_is_put_back(tmp_path, tokenizer):
  messages = [{"role": "user", "content": "What is 12?"}]
  row = {"prompt": messages, "completion": "42", "reward": 0, "finished": 1}
  (found,) = _read(tmp_path, [row], tokenizer=tokenizer)
  assert found.prompt == tokenizer.chat(messages)
  assert found.completion == (*tokenizer.encode("42"), tokenizer.eos_id)
  with pytest.raises(errors.UserError, match="give a text, not messages"):
    _read(tmp_path, [row | {"completion": messages}], tokenizer=tokenizer)
