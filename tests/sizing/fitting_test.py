"""Searching for what fits, with a memory made up for it."""

import pytest

from rlvr_jax import errors
from rlvr_jax.sizing import fitting


@pytest.mark.parametrize("limit", [64, 100, 1000, 4096, 5000])
@pytest.mark.parametrize("start", [64, 1024, 8192])
def test_the_largest_that_fits_is_found_to_an_eighth(limit, start):
  asked = []

  def fits_at(value):
    asked.append(value)
    return value <= limit

  found = fitting.largest(fits_at, start, unit=64)
  assert found <= limit < found + max(64, found // 8) + 64
  assert found in asked and all(value % 64 == 0 for value in asked)
  # Each costs minutes.
  assert len(asked) <= 16 and len(set(asked)) == len(asked)


def test_nothing_may_fit():
  assert fitting.largest(lambda value: False, 1024, unit=64) is None
  assert fitting.fewest(lambda value: False, 8) is None


def test_the_fewest_passes_are_a_power_of_two():
  possible = lambda value: None if value < 4 else value >= 6
  assert fitting.fewest(possible, 64) == 8


def test_a_setting_is_replaced_and_the_config_left_alone():
  config = {"rollout": {"completion_tokens": 8}, "prompts_per_step": 4}
  changed = fitting.with_setting(config, "rollout.completion_tokens", 16)
  assert fitting.read(changed, "rollout.completion_tokens") == 16
  assert fitting.read(config, "rollout.completion_tokens") == 8
  assert fitting.with_setting(config, "prompts_per_step", 2) == {
    "rollout": {"completion_tokens": 8},
    "prompts_per_step": 2,
  }


def test_prompts_come_in_pieces_of_devices_and_passes():
  config = {
    "mesh": {"data": 2, "fsdp": 4, "tensor": 2},
    "updates": {"num_minibatches": 3, "num_micro_batches": 5},
  }
  assert fitting.unit(config, "prompts_per_step") == 2 * 4 * 3 * 5


def test_another_setting_is_refused():
  assert fitting.checked("prompts_per_step") == "prompts_per_step"
  with pytest.raises(errors.UserError, match="--fit is 'prompt_per_step'"):
    fitting.checked("prompt_per_step")
