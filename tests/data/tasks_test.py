"""The tasks of the recipes: texts fit their buckets, answers are padded."""

import numpy as np
import pytest

from experiments import common
from rlvr_jax.data import countdown
from rlvr_jax.data import tasks


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
