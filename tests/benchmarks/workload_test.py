"""The workload: sizes, prompts, rewards."""

import numpy as np
import pytest

from benchmarks import workload


@pytest.mark.parametrize(
  ("name", "parameters"),
  [
    ("Q", 104_832),
    ("S", 800_128),
    ("M", 54_540_288),
    ("L", 596_049_920),
  ],
)
def test_sizes_have_the_parameters_they_say(name, parameters):
  assert workload.SIZES[name].parameters == parameters


@pytest.mark.parametrize("name", ["Q", "S", "M"])
def test_prompts_fill_their_bucket_and_have_the_value_of_their_sum(name):
  size = workload.SIZES[name]
  for step in range(20):
    problems = workload.problems(size, step)
    assert len(problems) == size.prompts
    lengths = [len(text) for text, _ in problems]
    assert lengths[0] == max(lengths) == size.prompt_tokens
    assert min(lengths) >= size.prompt_tokens // 2
    for text, answer in problems:
      assert text.endswith("=")
      terms = text[:-1].replace("-", "+-").split("+")
      assert sum(map(int, terms)) == answer
  assert workload.problems(size, 3) == workload.problems(size, 3)
  assert workload.problems(size, 3) != workload.problems(size, 4)


def test_ids_are_those_of_the_alphabet():
  size = workload.SIZES["S"]
  pieces = [*workload.SPECIAL_TOKENS, *workload.alphabet(size)]
  text, _ = workload.problems(size, 0)[0]
  assert "".join(pieces[i] for i in workload.encode(text)) == text
  for other in workload.SIZES.values():
    characters = workload.alphabet(other)
    assert len(set(characters)) == other.vocab - len(workload.SPECIAL_TOKENS)
    # Surrogates are no characters.
    "".join(characters).encode("utf-8")


def test_the_reward_of_ids_is_that_of_their_text():
  size = workload.SIZES["M"]
  pieces = [*workload.SPECIAL_TOKENS, *workload.alphabet(size)]
  _, _, answers = workload.prompt_arrays(size, 1)
  prompts, mask, completions, rewards = workload.fixed_rollouts(size, 1)
  assert completions.min() > max(workload.NEVER_SAMPLED)
  assert np.array_equal(mask, prompts != workload.PAD_ID)
  for row, (ids, found) in enumerate(zip(completions, rewards, strict=True)):
    text = "".join(pieces[i] for i in ids)
    assert found == workload.reward(text, int(answers[row // size.samples]))
  # Groups are mixed, so that there is something to learn.
  assert np.all(np.ptp(rewards.reshape(size.prompts, -1), axis=1) == 1)


def test_passes_of_an_update_share_out_whole_prompts():
  size = workload.SIZES["S"]
  assert workload.with_micro_batches(size, None) is size
  assert workload.with_micro_batches(size, 4).micro_batches == 4
  with pytest.raises(ValueError, match="does not divide 16 prompts"):
    workload.with_micro_batches(size, 3)


def test_the_peers_trainers_get_the_reward_of_each_text():
  found = workload.rewards_of(None, ["a", "b"], np.array([1, 1]), step=3)
  assert found == [workload.reward("a", 1), workload.reward("b", 1)] == [1, 0]
