"""The tasks of the recipes: texts fit their buckets, answers are padded."""

import dataclasses

import numpy as np
import pytest

from experiments import common
from rlvr_jax import errors
from rlvr_jax import records
from rlvr_jax import rewards
from rlvr_jax.data import countdown
from rlvr_jax.data import tasks
from rlvr_jax.data import vocabulary


@pytest.mark.parametrize("recipe", common.TASKS)
def test_the_data_of_every_recipe_fits_its_buckets(recipe, tmp_path):
  settings = common.TASKS[recipe]
  task = tasks.load_task(
    tasks.DataConfig(**settings["data"]),
    settings["completion_tokens"],
    tmp_path,
  )
  assert task.train.num_prompts == 8000
  evaluated = common.base(recipe).evaluation.num_prompts
  assert task.validation.num_prompts >= evaluated
  assert task.test.num_prompts >= evaluated


def test_mixed_problems_share_one_width(tmp_path):
  config = tasks.DataConfig("countdown", "mixed", "countdown_outcomes", 15)
  prompts = tasks.load_task(config, 40, tmp_path).train.prompts
  numbers = prompts.answers["numbers"]
  assert numbers.shape == (8000, 6)
  real = numbers != countdown.NO_NUMBER
  assert set(real.sum(axis=1)) == {2, 3, 4, 5, 6}
  # Padding stands behind the numbers, and all numbers are real ones.
  assert not np.any(~real[:, :-1] & real[:, 1:])
  assert set(np.unique(numbers[real])) == set(range(1, 10))


def _text(hint, row):
  tokens, mask = hint
  return vocabulary.ARITHMETIC.decode(tokens[row][mask[row] > 0])


def test_fewer_prompts_hints_and_another_domain(tmp_path):
  config = tasks.DataConfig(
    "countdown", "doubt_three", "countdown_outcomes", 11, 1, 8
  )
  task = tasks.load_task(
    config,
    72,
    tmp_path,
    ("gold_answer", "gold_solution"),
    tasks.OtherDomainConfig("countdown", "doubt_four"),
  )
  assert task.train.num_prompts == 8
  assert task.test.num_prompts == task.out_of_domain.num_prompts == 128
  assert task.test.prompts.answers["numbers"].shape == (128, 3)
  assert task.out_of_domain.prompts.answers["numbers"].shape == (128, 4)
  hints = task.train.prompts.hints
  for row in range(8):
    numbers, target = (
      task.train.prompts.answers[name][row] for name in ("numbers", "target")
    )
    solution = _text(hints["gold_solution"], row)
    verdict = rewards.countdown_outcome_of_text(
      solution, tuple(map(int, numbers)), int(target)
    )
    # What a teacher is shown is right and without doubt.
    assert verdict == "correct"
    assert countdown.DOUBT not in solution
    assert solution.endswith("," + _text(hints["gold_answer"], row))
  # The first of them all, so that sets of different sizes are nested.
  more = tasks.load_task(
    dataclasses.replace(config, num_train_prompts=64), 72, tmp_path
  )
  np.testing.assert_array_equal(
    more.train.prompts.prompt_tokens[:8], task.train.prompts.prompt_tokens
  )


def test_more_prompts_than_there_are_is_refused(tmp_path):
  config = tasks.DataConfig(
    "countdown", "three", "countdown_outcomes", 9, 1, 9000
  )
  with pytest.raises(errors.UserError, match="num_train_prompts is 9000, but"):
    tasks.load_task(config, 16, tmp_path)


_slow = pytest.mark.slow


@pytest.mark.parametrize(
  "name, variant, verifier, prompt_tokens, completion_tokens",
  [
    ("dyck_errors", "two", "chain_outcomes", 17, 4),
    ("boolean_expressions", "four", "option_outcomes", 200, 6),
    pytest.param(
      "boolean_expressions",
      "six",
      "option_outcomes",
      500,
      8,
      marks=_slow,
    ),
    ("math_path", "half", "equation_outcomes", 18, 18),
    pytest.param("math_path", "all", "equation_outcomes", 18, 18, marks=_slow),
    pytest.param("math_path", "nine", "equation_outcomes", 29, 29, marks=_slow),
  ],
)
def test_demonstrations_of_a_loaded_task_are_judged_correct(
  name, variant, verifier, prompt_tokens, completion_tokens, tmp_path
):
  config = tasks.DataConfig(name, variant, verifier, prompt_tokens)
  task = tasks.load_task(
    config, completion_tokens, tmp_path, ("gold_answer", "gold_solution")
  )
  first = task.test.first_demonstration
  shown = task.vocabulary.decode(task.test.demonstrations[first[0]])
  tokens, mask = task.test.prompts.hints["gold_solution"]
  assert task.vocabulary.decode(tokens[0][mask[0] > 0]) == shown
  tokens, mask = task.test.prompts.hints["gold_answer"]
  answer = task.vocabulary.decode(tokens[0][mask[0] > 0])
  assert shown == f"#{answer}"
  outcomes = getattr(rewards, verifier)(
    completion_tokens=task.test.demonstrations[first],
    **task.test.prompts.answers,
  )
  assert np.all(np.asarray(outcomes) == records.OUTCOMES.index("correct"))
