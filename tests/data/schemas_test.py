"""Rows of known data sets become problems; others are refused by name."""

import decimal
import json

import pyarrow
from pyarrow import parquet
import pytest

from rlvr_jax import errors
from rlvr_jax import settings
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


def _problem(row, name="", **keys):
  schema = schemas.schema_of(row, "f:1", name, **keys)
  return schemas.problem(row, schema, "f:1")


@pytest.mark.parametrize(
  "row, prompt, answer",
  [
    ({"question": "1+1?", "answer": "2"}, "1+1?", "2"),
    ({"problem": "1+1?", "answer": " 2 "}, "1+1?", "2"),
    # DeepScaleR and MATH-500.
    ({"problem": "1+1?", "answer": "2", "solution": "3"}, "1+1?", "2"),
    # AIME.
    ({"ID": "I-1", "Problem": "1+1?", "Answer": 2}, "1+1?", "2"),
    # MATH.
    (
      {"problem": "x?", "solution": r"\boxed{1} so \boxed{\frac{1}{\{2\}}}."},
      "x?",
      r"\frac{1}{\{2\}}",
    ),
    (
      {"problem": "x?", "solution": r"\boxed{\left\{1\right.}"},
      "x?",
      r"\left\{1\right.",
    ),
    # GSM8K.
    ({"question": "x?", "answer": "1<<2=3>>4\n#### 1,234"}, "x?", "1234"),
    ({"question": "x?", "answer": "#### (7) ####(1,2)"}, "x?", "(1,2)"),
    # DAPO-Math-17k, and what was made of it.
    (
      {"prompt": _CHAT, "reward_model": {"ground_truth": "2", "style": "r"}},
      _MESSAGES,
      "2",
    ),
    (
      {"prompt": "1+1?", "solution": "9", "reward_model": {"ground_truth": 2}},
      "1+1?",
      "2",
    ),
    ({"prompt": _CHAT, "answer": "2"}, _MESSAGES, "2"),
  ],
)
def test_known_schemas_are_found(row, prompt, answer):
  assert _problem(row) == schemas.Problem(prompt, answer, "f:1")


def test_a_schema_or_keys_can_be_given():
  row = {"question": "x?", "answer": "7 #### 8", "meta": {"gold": {"v": 9}}}
  assert _problem(row).answer == "8"
  assert _problem(row, "question").answer == "7 #### 8"
  given = _problem(row, prompt_key="question", answer_key="meta.gold.v")
  assert (given.prompt, given.answer) == ("x?", "9")
  assert _problem(row, answer_key="meta.gold.v").answer == "9"
  row = {"q": "x?", "a": "7 #### 8"}
  assert _problem(row, "gsm8k", prompt_key="q", answer_key="a").answer == "8"


def test_the_question_is_what_the_user_says_last():
  assert schemas.Problem("1+1?", "2", "").question == "1+1?"
  assert schemas.Problem(_MESSAGES, "2", "").question == "1+1?"


@pytest.mark.parametrize(
  "value, answer",
  [
    ("42", "42"),
    (42, "42"),
    (-7, "-7"),
    (10**30, "1" + "0" * 30),
    (42.0, "42"),
    (100.0, "100"),
    (0.0, "0"),
    (0.5, "0.5"),
    (0.1, "0.1"),
    (1e22, "1" + "0" * 22),
    (1e-7, "0.0000001"),
    (decimal.Decimal("1.50"), "1.5"),
    (decimal.Decimal("1E+2"), "100"),
    (["42"], "42"),
    ([42.0], "42"),
  ],
)
def test_answers_become_text(value, answer):
  assert _problem({"question": "x?", "answer": value}).answer == answer


@pytest.mark.parametrize(
  "row, message",
  [
    ({"question": "x?", "answer": True}, "f:1 has the answer True in 'answer'"),
    ({"question": "x?", "answer": ["1", "2"]}, r"the answer \['1', '2'\] in"),
    ({"question": "x?", "answer": []}, r"the answer \[\] in 'answer': give"),
    ({"question": "x?", "answer": {"a": 1}}, "the answer {'a': 1} in"),
    ({"question": "x?", "answer": float("nan")}, "the answer nan in"),
    ({"question": "x?", "answer": b"2"}, "the answer b'2' in"),
    ({"question": "x?", "answer": " "}, "answer '' in 'answer', without text"),
    (
      {"question": "x?", "answer": None},
      "f:1 has nothing in 'answer', and the",
    ),
    ({"question": " \n", "answer": "1"}, "an empty question in 'question'"),
    ({"question": 7, "answer": "1"}, "f:1 has 7 in 'question': give text, or"),
    ({"prompt": [], "answer": "1"}, r"f:1 has \[\] in 'prompt': give text"),
    ({"problem": "x?", "solution": "2"}, r"'2' in 'solution', without \\boxed"),
    ({"problem": "x?", "solution": r"\boxed{"}, r"without \\boxed"),
    ({"a": 1, "b": 2}, "f:1 has the keys a, b, which are of no known schema"),
    ({}, "which are of no known schema"),
    (
      {"prompt": _CHAT[:1], "answer": "1"},
      "a 'prompt' that ends with the role 'system'",
    ),
    (
      {"prompt": [{"role": "user"}], "answer": "1"},
      "the message {'role': 'user'} in 'prompt'",
    ),
    (
      {"prompt": [{"role": "user", "content": ["x"]}], "answer": "1"},
      "both text, and nothing else",
    ),
    (
      {"prompt": [{**_CHAT[1], "name": "me"}], "answer": "1"},
      "both text, and nothing else",
    ),
    ({"prompt": ["x"], "answer": "1"}, "the message 'x' in 'prompt'"),
  ],
)
def test_unusable_rows_are_one_sentence(row, message):
  with pytest.raises(errors.UserError, match=message) as found:
    _problem(row)
  assert "\n" not in str(found.value)


def test_a_gsm8k_row_without_its_mark_is_refused(tmp_path):
  rows = [
    {"question": "x?", "answer": "so\n#### 2"},
    {"question": "y?", "answer": "so 2"},
  ]
  path = _lines(tmp_path, rows)
  with pytest.raises(errors.UserError) as found:
    schemas.problems(schemas.FileSet((path,)))
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
  found = schemas.problems(schemas.FileSet(paths)).problems
  assert [p.answer for p in found] == ["1", "2", "3"]
  assert found[0] == schemas.Problem(_MESSAGES, "1", f"{paths[0]}:1")
  assert found[2].source == f"{tmp_path}/b-2.jsonl:1"


def _three(tmp_path):
  rows = [("a", 1), ("b", 2), ("a", 1), ("a", 3), ("a ", 1)]
  return _lines(tmp_path, [{"question": q, "answer": a} for q, a in rows])


def test_duplicates_are_left_out_counted_and_shown(tmp_path):
  path = _three(tmp_path)
  found = schemas.problems(schemas.FileSet((path,)))
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
  kept = schemas.problems(schemas.FileSet((path,), drops_duplicates=False))
  assert len(kept.problems) == 5
  assert kept.counts["duplicates"] == 0


def test_reading_stops_at_the_number_wanted(tmp_path):
  path = _three(tmp_path)
  found = schemas.problems(schemas.FileSet((path,), max_problems=2))
  assert [p.question for p in found.problems] == ["a", "b"]
  assert found.counts["rows"] == 2


def test_unusable_rows_can_be_left_out(tmp_path):
  rows = [
    {"question": "a", "answer": None},
    {"question": "", "answer": 1},
    {"question": "c", "answer": 2},
  ]
  path = _lines(tmp_path, rows)
  found = schemas.problems(schemas.FileSet((path,), drops_unusable=True))
  assert [p.question for p in found.problems] == ["c"]
  assert found.counts["unusable"] == 2
  assert found.examples["unusable"].startswith(f"{path}:1 has nothing in")
  path = _lines(tmp_path, rows[:2])
  with pytest.raises(errors.UserError, match="there is no problem in"):
    schemas.problems(schemas.FileSet((path,), drops_unusable=True))


def test_a_missing_column_is_named(tmp_path):
  path = tmp_path / "a.parquet"
  parquet.write_table(pyarrow.table({"question": ["x"], "gold": ["1"]}), path)
  with pytest.raises(errors.UserError, match="has no column 'answer': choose"):
    schemas.problems(schemas.FileSet((str(path),), schema="question"))


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
    settings.typed(schemas.FileSet, block, "config.data.files.train")


def test_no_match_is_named():
  with pytest.raises(errors.UserError, match="there is no file none-\\*.jsonl"):
    schemas.problems(schemas.FileSet(("none-*.jsonl",)))
