"""Files of problems: every row read once, what is left out counted."""

import json

import pyarrow
from pyarrow import parquet
import pytest

from rlvr_jax import errors
from rlvr_jax import settings
from rlvr_jax.data import file_sets
from rlvr_jax.data import schemas

_CHAT = [
  {"role": "system", "content": "Think."},
  {"role": "user", "content": "1+1?"},
]
_MESSAGES = tuple(schemas.Message(**message) for message in _CHAT)


def _lines(folder, rows, name="rows.jsonl"):
  path = folder / name
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return str(path)


def test_a_gsm8k_row_without_its_mark_is_refused(tmp_path):
  rows = [
    {"question": "x?", "answer": "so\n#### 2"},
    {"question": "y?", "answer": "so 2"},
  ]
  path = _lines(tmp_path, rows)
  with pytest.raises(errors.UserError) as found:
    file_sets.read(file_sets.FileSet((path,)))
  assert str(found.value) == (
    f"{path}:2 has the answer 'so 2' in 'answer', without number behind ####:"
    " fill it, or set another schema or drops_unusable"
  )


def test_every_file_has_its_own_schema_and_the_order_is_that_of_names(tmp_path):
  _lines(tmp_path, [{"problem": "c", "answer": 3}], "b-2.jsonl")
  _lines(tmp_path, [{"question": "b", "answer": 2}], "b-1.jsonl")
  chat = [{**message, "name": None} for message in _CHAT]
  rows = [{"prompt": chat, "reward_model": {"ground_truth": "1", "x": None}}]
  parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
  empty = _lines(tmp_path, [], "empty.jsonl")
  paths = (str(tmp_path / "a.parquet"), empty, str(tmp_path / "b-*.jsonl"))
  found = file_sets.read(file_sets.FileSet(paths)).problems
  assert [p.answer for p in found] == ["1", "2", "3"]
  assert found[0] == schemas.Problem(_MESSAGES, "1", f"{paths[0]}:1")
  assert found[2].source == f"{tmp_path}/b-2.jsonl:1"


def _three(tmp_path):
  rows = [("a", 1), ("b", 2), ("a", 1), ("a", 3), ("a ", 1)]
  return _lines(tmp_path, [{"question": q, "answer": a} for q, a in rows])


def test_duplicates_are_left_out_counted_and_shown(tmp_path):
  path = _three(tmp_path)
  found = file_sets.read(file_sets.FileSet((path,)))
  assert [p.source for p in found.problems] == [
    f"{path}:{line}" for line in (1, 2, 5)
  ]
  assert found.counts == {
    "rows": 5,
    "duplicates": 2,
    "conflicting": 1,
    "unusable": 0,
  }
  assert found.examples == {
    "duplicates": f"{path}:3 has the prompt of {path}:1",
    "conflicting": f"{path}:4 has the prompt of {path}:1 and the answer '3'"
    " instead of '1'",
  }
  kept = file_sets.read(file_sets.FileSet((path,), drops_duplicates=False))
  assert len(kept.problems) == 5
  assert kept.counts["duplicates"] == 0


def test_reading_stops_at_the_number_wanted(tmp_path):
  path = _three(tmp_path)
  found = file_sets.read(file_sets.FileSet((path,), max_problems=2))
  assert [p.question for p in found.problems] == ["a", "b"]
  assert found.counts["rows"] == 2


def test_unusable_rows_can_be_left_out(tmp_path):
  rows = [
    {"question": "a", "answer": None},
    {"question": "", "answer": 1},
    {"question": "c", "answer": 2},
  ]
  path = _lines(tmp_path, rows)
  found = file_sets.read(file_sets.FileSet((path,), drops_unusable=True))
  assert [p.question for p in found.problems] == ["c"]
  assert found.counts["unusable"] == 2
  assert found.examples["unusable"].startswith(f"{path}:1 has nothing in")
  path = _lines(tmp_path, rows[:2])
  with pytest.raises(errors.UserError, match="there is no problem in"):
    file_sets.read(file_sets.FileSet((path,), drops_unusable=True))


def test_a_missing_column_is_named(tmp_path):
  path = tmp_path / "a.parquet"
  parquet.write_table(pyarrow.table({"question": ["x"], "gold": ["1"]}), path)
  with pytest.raises(errors.UserError, match="has no column 'answer': choose"):
    file_sets.read(file_sets.FileSet((str(path),), schema="question"))


@pytest.mark.parametrize(
  "block, message",
  [
    ({"paths": ("a",), "schema": "gsm8"}, "did you mean 'gsm8k'"),
    ({"paths": ("a",), "max_problems": -1}, "max_problems is -1"),
    ({"paths": "a"}, r"train.paths is 'a', a str"),
    ({"paths": ("a",), "path": "b"}, "has no key 'path'"),
  ],
)
def test_settings_are_checked(block, message):
  with pytest.raises(errors.UserError, match=message):
    settings.typed(file_sets.FileSet, block, "config.data.files.train")


def test_no_match_is_named():
  with pytest.raises(errors.UserError, match="there is no file none-\\*.jsonl"):
    file_sets.read(file_sets.FileSet(("none-*.jsonl",)))
