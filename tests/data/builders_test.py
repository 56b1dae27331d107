"""The tfds builders: what is read is what was generated, without TensorFlow."""

import collections
import itertools
import subprocess
import sys

import pytest

from rlvr_jax import errors
from rlvr_jax import rewards
from rlvr_jax.data import boolean_expressions
from rlvr_jax.data import builders
from rlvr_jax.data import countdown
from rlvr_jax.data import dyck_errors
from rlvr_jax.data import file_sets
from rlvr_jax.data import math_path
from rlvr_jax.data import random_calculation
from rlvr_jax.data import vocabulary


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return tmp_path_factory.mktemp("data")


def test_countdown_rows_are_the_generated_ones(data_dir):
  rows = builders.rows("countdown", "three", 7, data_dir)
  problems = countdown.problems(7, {3: 1}, 8000, 128, 128)
  for split, expected in problems.items():
    key = lambda prompt_and_class: prompt_and_class
    found = sorted((r["prompt"], r["problem_class"]) for r in rows[split])
    assert found == sorted(key((p.prompt, p.problem_class)) for p in expected)
  by_prompt = {p.prompt: p for split in problems.values() for p in split}
  for row in rows["test"]:
    problem = by_prompt[row["prompt"]]
    assert tuple(row["numbers"]) == problem.numbers
    assert row["target"] == problem.target
    assert tuple(row["demonstrations"].split("\n")) == problem.solutions


def test_mixed_rows_are_the_generated_ones_with_padded_numbers(data_dir):
  rows = builders.rows("countdown", "mixed", 0, data_dir)
  sizes = {split: len(found) for split, found in rows.items()}
  assert sizes == {"train": 8000, "validation": 256, "test": 256}
  weights = {2: 45, 3: 10, 4: 6, 5: 9, 6: 30}
  problems = countdown.problems(0, weights, 8000, 256, 256)
  for split, expected in problems.items():
    found = collections.Counter(
      (
        row["prompt"],
        row["problem_class"],
        row["demonstrations"],
        tuple(row["numbers"].tolist()),
        row["target"],
      )
      for row in rows[split]
    )
    assert found == collections.Counter(
      (
        p.prompt,
        p.problem_class,
        "\n".join(p.solutions),
        p.numbers + (-1,) * (6 - len(p.numbers)),
        p.target,
      )
      for p in expected
    )


def test_the_classes_of_mixed_splits_are_disjoint(data_dir):
  rows = builders.rows("countdown", "mixed", 0, data_dir)
  splits = [{row["problem_class"] for row in rows[s]} for s in builders.SPLITS]
  for first, second in itertools.combinations(splits, 2):
    assert not first & second


def test_chain_rows_are_the_generated_ones(data_dir):
  rows = builders.rows("random_calculation", "chain", 0, data_dir)
  chains = random_calculation.chains(0, 8000, 128, 128)
  for split, expected in chains.items():
    found = {r["prompt"]: r["answer"] for r in rows[split]}
    assert found == {c.prompt: c.answer for c in expected}


def test_level_rows_keep_the_exact_value(data_dir):
  rows = builders.rows("random_calculation", "level_02", 0, data_dir)
  expressions = {e.text: e for e in random_calculation.expressions(0, 2)}
  sizes = {split: len(found) for split, found in rows.items()}
  assert sizes == {"train": 700, "validation": 150, "test": 150}
  for row in rows["validation"]:
    expression = expressions[row["problem_class"]]
    assert int(row["numerator"]) == expression.value.numerator
    assert int(row["denominator"]) == expression.value.denominator
    assert row["answer"] == expression.answer()
    assert row["op_count"] == 2


def test_a_built_data_set_is_read_in_the_same_order(data_dir):
  first = builders.rows("countdown", "three", 7, data_dir)
  again = builders.rows("countdown", "three", 7, data_dir)
  prompts = lambda rows: [row["prompt"] for row in rows["train"]]
  assert prompts(first) == prompts(again)


def test_four_numbers_make_24(data_dir):
  rows = builders.rows("countdown", "twenty_four", 0, data_dir)
  for row in itertools.chain(rows["train"][:200], rows["test"]):
    assert row["target"] == 24
    assert row["prompt"].endswith(":24>")
    verdict = rewards.countdown_outcome_of_text(
      row["demonstrations"].split("\n")[0], tuple(row["numbers"]), 24
    )
    assert verdict == "correct"


def test_dyck_rows_are_the_generated_ones(data_dir):
  rows = builders.rows("dyck", "two", 0, data_dir)
  for row in itertools.chain(rows["train"][:200], rows["test"]):
    verdict = rewards.dyck_outcome_of_text(
      row["demonstrations"], tuple(row["closing"])
    )
    assert verdict == "correct"
  prompts = [row["prompt"] for row in rows["test"]]
  assert not set(prompts) & {row["prompt"] for row in rows["train"]}


def test_dyck_error_rows_are_the_generated_ones(data_dir):
  rows = builders.rows("dyck_errors", "two", 5, data_dir)
  problems = dyck_errors.problems(5, 16, 8000, 128, 128)
  for split, expected in problems.items():
    found = collections.Counter(
      (r["prompt"], r["problem_class"], r["answer"], r["demonstrations"])
      for r in rows[split]
    )
    assert found == collections.Counter(
      (*problem, f"#{problem.answer}") for problem in expected
    )


def test_boolean_rows_are_the_generated_ones(data_dir):
  rows = builders.rows("boolean_expressions", "four", 5, data_dir)
  problems = boolean_expressions.problems(5, 4, 2, 8000, 128, 128)
  for split, expected in problems.items():
    found = collections.Counter(
      (
        r["prompt"],
        r["problem_class"],
        tuple(r["true_options"].tolist()),
        r["demonstrations"],
      )
      for r in rows[split]
    )
    assert found == collections.Counter(
      (*problem, problem.demonstration) for problem in expected
    )


def test_math_path_rows_are_the_generated_ones(data_dir):
  rows = builders.rows("math_path", "half", 5, data_dir)
  problems = math_path.problems(5, 5, 50, 8000, 128, 128)

  def template(row):
    ids = [i for i in row["template"].tolist() if i != math_path.NO_SYMBOL]
    return vocabulary.LOGIC.decode(ids)

  for split, expected in problems.items():
    found = collections.Counter(
      (
        r["prompt"],
        r["problem_class"],
        template(r),
        int(r["target"]),
        r["demonstrations"],
      )
      for r in rows[split]
    )
    assert found == collections.Counter(map(tuple, expected))


def test_a_prepared_folder_is_read_by_path(data_dir):
  rows = builders.rows("countdown", "three", 7, data_dir)
  folder = next(data_dir.glob("countdown/three_seed7/*"))
  found = list(builders.published_rows(str(folder), "test"))
  key = lambda row: row["prompt"]
  assert sorted(map(key, found)) == sorted(map(key, rows["test"]))
  problems = file_sets.read(
    file_sets.FileSet(
      (f"tfds:{folder}:test",), prompt_key="prompt", answer_key="target"
    )
  ).problems
  assert {p.prompt: p.answer for p in problems} == {
    row["prompt"]: str(row["target"]) for row in found
  }
  with pytest.raises(errors.UserError, match="tfds:.*:nowhere cannot be read"):
    list(builders.published_rows(str(folder), "nowhere"))
  with pytest.raises(errors.UserError, match="names no split"):
    file_sets.read(file_sets.FileSet(("tfds:gsm8k",)))


def test_another_seed_is_another_data_set(data_dir):
  ours = builders.rows("random_calculation", "level_00", 0, data_dir)
  other = builders.rows("random_calculation", "level_00", 1, data_dir)
  answers = lambda rows: [row["prompt"] for row in rows["test"]]
  assert answers(ours) != answers(other)


@pytest.mark.parametrize(
  "name, variant, message",
  [
    ("countdwn", "three", "config.data.name is 'countdwn'"),
    ("countdown", "four", "config.data.variant is 'four'"),
  ],
)
def test_unknown_names_are_refused(data_dir, name, variant, message):
  with pytest.raises(errors.UserError, match=message):
    builders.rows(name, variant, 0, data_dir)


def test_tensorflow_is_not_imported_and_nothing_is_printed(tmp_path):
  program = (
    "import sys, pathlib\n"
    "from rlvr_jax.data import builders\n"
    f"builders.rows('countdown', 'three', 0, pathlib.Path({str(tmp_path)!r}))\n"
    "assert 'tensorflow' not in sys.modules\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", program],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
