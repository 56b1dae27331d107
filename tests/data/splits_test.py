"""Held-out problems stay where they are, and out of what is trained on."""

import json

import pytest

from rlvr_jax import errors
from rlvr_jax import settings
from rlvr_jax.data import file_sets
from rlvr_jax.data import schemas
from rlvr_jax.data import splits


def _problems(*questions, name="f"):
  return [
    schemas.Problem(question, "1", f"{name}:{line}")
    for line, question in enumerate(questions, start=1)
  ]


def _numbered(count):
  return _problems(*(f"What is {i} + {i}?" for i in range(count)))


def _file(folder, name, questions):
  path = folder / name
  rows = [{"question": question, "answer": 1} for question in questions]
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return str(path)


def test_a_split_has_about_its_share_and_every_problem_one_split():
  problems = _numbered(4000)
  parts = splits.split(problems, {"test": 0.1, "validation": 0.05}, 0)
  assert list(parts) == ["test", "validation", "train"]
  assert sorted(sum(parts.values(), ())) == sorted(problems)
  # Standard errors of 0.005 and 0.003.
  assert abs(len(parts["test"]) / 4000 - 0.1) < 0.02
  assert abs(len(parts["validation"]) / 4000 - 0.05) < 0.02
  # The order of the file.
  assert list(parts["train"]) == [p for p in problems if p in parts["train"]]


def _where(problems, seed=0, validation=0.2):
  parts = splits.split(problems, {"test": 0.2, "validation": validation}, seed)
  return {p.question: split for split, part in parts.items() for p in part}


def test_further_rows_and_another_order_move_no_problem():
  few, many = _numbered(200), _numbered(400)
  where = _where(many)
  assert _where(few).items() <= where.items()
  assert _where(many[::-1]) == where
  assert _where(many, seed=1) != where


def test_the_other_share_moves_no_problem_into_the_test():
  test_of = lambda where: {q for q, split in where.items() if split == "test"}
  less, more = (_where(_numbered(400), validation=v) for v in (0.1, 0.3))
  assert test_of(less) == test_of(more)


def test_spellings_of_a_question_share_a_split():
  questions = [f"Why is {i}²  odd?" for i in range(50)]
  others = [f"why IS {i}2\nodd? " for i in range(50)]
  first, second = _where(_problems(*questions)), _where(_problems(*others))
  assert list(first.values()) == list(second.values())
  assert len(set(first.values())) == 3


def test_whole_questions_overlap_whatever_their_spelling():
  train = _problems("a  B", "c", "C d", "e")
  held_out = _problems("A b ", "e e", "c D", "C D", name="g")
  found = splits.overlap(train, held_out)
  assert found == {train[0]: held_out[0], train[2]: held_out[2]}
  assert splits.overlap(train, []) == {}


def test_passages_overlap_from_their_length_on():
  train = _problems(
    "see: one two three four five six",
    "now six five four three two one",
    "then one two three",
  )
  held_out = _problems("Given two three four five, say six.", "x", name="g")
  assert splits.overlap(train, held_out) == {}
  assert splits.overlap(train, held_out, words=3) == {train[0]: held_out[0]}
  assert splits.overlap(train, held_out, words=4) == {}
  # "five," is not "five": words are what stands between spaces.
  assert splits.overlap(train, held_out, words=2).keys() == {train[0], train[2]}


def test_an_instruction_that_all_questions_share_is_no_overlap():
  asked = "Solve this problem step by step. {} Put the answer within the box."
  train = _problems(*(asked.format(x) for x in ("a b c d e", "f g h i j")))
  held_out = _problems(
    *(asked.format(x) for x in ("k l m n o", "b c d e p")), name="g"
  )
  assert splits.overlap(train, held_out, words=4) == {train[0]: held_out[1]}
  assert splits.overlap(train, held_out, words=5) == {}
  bare = _problems("f g h i j", name="h")
  assert splits.overlap(train, bare, words=5) == {train[1]: bare[0]}


def test_shares_of_a_file_are_held_out(tmp_path):
  path = _file(tmp_path, "a.jsonl", [f"{i}?" for i in range(300)])
  config = splits.FilesConfig(
    file_sets.FileSet((path,)), validation_frac=0.1, test_frac=0.2
  )
  found = splits.load(config, 3)
  sizes = [len(part) for part in found[:3]]
  assert sum(sizes) == 300
  assert all(sizes)
  assert found.counts["train/rows"] == 300
  assert found.counts["overlap"] == 0
  assert found == splits.load(config, 3)
  assert found.test != splits.load(config, 4).test


def _overlapping(tmp_path, **changes):
  train = _file(tmp_path, "train.jsonl", ["a", "b", "b", "c"])
  test = _file(tmp_path, "test.jsonl", ["d", "B"])
  return splits.FilesConfig(
    file_sets.FileSet((train,)), test=file_sets.FileSet((test,)), **changes
  )


def test_an_overlap_is_refused_and_shown(tmp_path):
  with pytest.raises(errors.UserError) as found:
    splits.load(_overlapping(tmp_path), 0)
  assert str(found.value) == (
    "1 of 3 problems to train on are held out as well"
    f" ({tmp_path}/train.jsonl:2 is {tmp_path}/test.jsonl:2, 'b'): set"
    " config.data.files.overlap to 'drop' to train without them"
  )


def test_an_overlap_can_be_dropped_or_reported(tmp_path):
  found = splits.load(_overlapping(tmp_path, overlap="drop"), 0)
  assert [p.question for p in found.train] == ["a", "c"]
  assert [p.question for p in found.test] == ["d", "B"]
  assert found.validation == ()
  assert found.counts == {
    "train/rows": 4,
    "train/duplicates": 1,
    "train/conflicting": 0,
    "train/unusable": 0,
    "test/rows": 2,
    "test/duplicates": 0,
    "test/conflicting": 0,
    "test/unusable": 0,
    "overlap": 1,
  }
  assert found.examples.keys() == {"train/duplicates", "overlap"}
  found = splits.load(_overlapping(tmp_path, overlap="report"), 0)
  assert [p.question for p in found.train] == ["a", "b", "c"]
  assert found.counts["overlap"] == 1


def test_nothing_left_to_train_on_is_refused(tmp_path):
  path = _file(tmp_path, "a.jsonl", ["x"])
  files = file_sets.FileSet((path,))
  config = splits.FilesConfig(files, test=files, overlap="drop")
  with pytest.raises(errors.UserError, match="no problem of config.data.files"):
    splits.load(config, 0)


_TRAIN = {"paths": ("a.jsonl",)}


@pytest.mark.parametrize(
  "block, message",
  [
    ({}, "config.data.files.train is missing"),
    ({"train": _TRAIN, "overlap": "warn"}, "overlap is 'warn': choose one of"),
    ({"train": _TRAIN, "test": _TRAIN, "test_frac": 0.1}, "one of the two"),
    ({"train": _TRAIN, "test_frac": 1.0}, "test_frac is 1.0: it is a share in"),
    (
      {"train": _TRAIN, "test_frac": 0.5, "validation_frac": 0.5},
      "holds out a share of 1.0",
    ),
  ],
)
def test_settings_are_checked(block, message):
  with pytest.raises(errors.UserError, match=message):
    settings.typed(splits.FilesConfig, block, "config.data.files")


def test_an_experiment_file_can_hold_them():
  block = {"train": _TRAIN, "test": {"paths": ("b",), "answer_key": "gold"}}
  found = settings.typed(splits.FilesConfig, block, "config.data.files")
  assert found == splits.FilesConfig(
    file_sets.FileSet(("a.jsonl",)),
    test=file_sets.FileSet(("b",), answer_key="gold"),
  )
