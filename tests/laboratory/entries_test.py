"""What a lab is asked for: read, loaded, refused."""

import pytest

from rlvr_jax import errors
from rlvr_jax.laboratory import entries


def test_sweeps_are_crossed():
  assert entries.crossed([]) == [{}]
  assert entries.crossed(["a=1,2", "b.c=1e-3"]) == [
    {"a": 1.0, "b.c": 1e-3},
    {"a": 2.0, "b.c": 1e-3},
  ]


def test_settings_are_read_as_numbers_where_they_are():
  assert entries.changes(["a.b=3", "c=1e-3", "d=math"]) == {
    "a.b": 3,
    "c": 1e-3,
    "d": "math",
  }


def test_a_method_has_a_column_for_each_row_and_seed():
  swept = entries.crossed(["optimizer.learning_rate=1e-4,3e-4"])
  found = entries.entry("grpo", 2, swept, {"num_steps": 5})
  assert found.rows == [
    "grpo optimizer.learning_rate=0.0001",
    "grpo optimizer.learning_rate=0.0003",
  ]
  runs = [experiment.run for experiment in found.experiments]
  assert [run.seed for run in runs] == [0, 1, 0, 1]
  rates = [run.optimizer.learning_rate for run in runs]
  assert rates == [1e-4, 1e-4, 3e-4, 3e-4]
  assert {run.num_steps for run in runs} == {5}


def test_all_start_from_the_first_warm_start_with_hints():
  found = [entries.entry(x, 1, [{}], {}) for x in ("grpo", "rlrt", "sdft")]
  assert entries.warm_start_of(found).name == "rlrt"
  assert entries.warm_start_of(found[:1]).name == "grpo"
  entries.check_comparable(found)


@pytest.mark.parametrize(
  "call, message",
  [
    (
      lambda: entries.entry("grop", 1, [{}], {}),
      "--methods names 'grop', but there is no experiments/grop.py",
    ),
    (
      lambda: entries.entry("grpo:tinny", 1, [{}], {}),
      "--methods=grpo:tinny: variant 'tinny': choose one of tiny",
    ),
    (
      lambda: entries.entry("grpo", 1, [{"optimizer.rate": 1.0}], {}),
      "config.optimizer has no key 'rate'",
    ),
    (lambda: entries.crossed(["a=x"]), "--sweep is 'a=x': give a setting"),
    (
      lambda: entries.crossed(["warm_start.optimizer.learning_rate=1,2"]),
      "--sweep names warm_start.optimizer.learning_rate, but all rows share",
    ),
    (lambda: entries.changes(["a"]), "--set is 'a': give a setting"),
    (
      lambda: entries.check_comparable(
        [entries.entry(x, 1, [{}], {}) for x in ("grpo", "rloo:chain")]
      ),
      "config.data.name is 'countdown' with grpo and 'random_calculation'",
    ),
    (
      lambda: entries.check_comparable(
        [entries.entry("grpo", 1, [{}], {})] * 2
      ),
      "--methods names grpo twice",
    ),
    (
      lambda: entries.entry("grpo:checkpoint", 1, [{}], {}),
      "config.pretrained.folder|judges texts",
    ),
  ],
)
def test_mistakes_are_one_sentence(call, message):
  with pytest.raises(errors.UserError, match=message):
    call()
