"""What a teacher is shown: the first right sibling, or what is on record."""

import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax.rollouts import demonstrations
from tests import testing


def _pick(rewards, group_ids=None, valid=None):
  rewards = jnp.asarray(rewards, jnp.float32)
  ones = jnp.ones_like(rewards)
  if group_ids is None:
    group_ids = jnp.zeros(len(rewards), jnp.int32)
  return demonstrations.first_correct_sibling(
    is_correct=rewards,
    group_ids=jnp.asarray(group_ids),
    valid=ones if valid is None else jnp.asarray(valid, jnp.float32),
  ).tolist()


# T25 of the dossier.
def test_the_first_right_sibling_is_never_the_row_itself():
  assert _pick([0, 1, 1, 0]) == [1, 2, 1, 1]
  assert _pick([0, 1, 0, 0]) == [1, -1, 1, 1]
  assert _pick([0, 0, 0, 0]) == [-1, -1, -1, -1]


def test_groups_do_not_see_each_other():
  assert _pick([1, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1]) == [-1, 0, 0, 4, 3, 3]
  # Numbers of groups need not rise.
  assert _pick([1, 0, 1, 1], [2, 0, 2, 0]) == [2, 3, 0, -1]


def test_a_row_that_was_not_judged_is_no_example():
  assert _pick([1, 1, 0], valid=[0, 1, 1]) == [1, -1, 1]


def test_a_sibling_is_shown_without_its_end_token():
  batch = testing.rollout_batch(num_prompts=2, samples=3)
  tokens = batch.completion_tokens.at[0].set(jnp.array([5, 6, 1, 0, 0, 0]))
  mask = batch.completion_mask.at[0].set(jnp.array([1.0, 1, 1, 0, 0, 0]))
  batch = batch.replace(completion_tokens=tokens, completion_mask=mask)
  shown = demonstrations.sibling(batch, (testing.EOS,))
  # Row 0 is the only right one of its group.
  assert shown.exists.tolist() == [0, 1, 1, 0, 1, 1]
  assert shown.tokens[1, :2].tolist() == [5, 6]
  assert shown.mask[1].tolist() == [1, 1, 0, 0, 0, 0]
  assert not np.any(shown.mask[0])


def test_gold_is_that_of_the_prompt():
  batch = testing.rollout_batch(num_prompts=2, samples=2)
  hint = (jnp.array([[7, 8], [9, 0]]), jnp.array([[1.0, 1.0], [0.0, 0.0]]))
  batch = batch.replace(
    prompts=batch.prompts.replace(hints={"gold_answer": hint})
  )
  shown = demonstrations.make_context("gold_answer")(batch, testing.EOS)
  assert shown.tokens.tolist() == [[7, 8], [7, 8], [9, 0], [9, 0]]
  assert shown.exists.tolist() == [1, 1, 0, 0]


# T20's second half: only what follows the closing tag is left.
@pytest.mark.parametrize(
  "tokens, kept",
  [
    ([4, 3, 6, 7], [6, 7]),
    ([3, 6, 3, 7], [6, 3, 7]),
    ([4, 5, 6, 7], [4, 5, 6, 7]),
    ([4, 5, 6, 3], []),
  ],
)
def test_thinking_is_stripped_up_to_its_closing_tag(tokens, kept):
  shown = demonstrations.Demonstrations(
    jnp.array([tokens]), jnp.ones((1, 4)), jnp.ones(1)
  )
  found = demonstrations.without_thinking(shown, end_of_thinking_id=3)
  assert found.tokens[0][found.mask[0] > 0].tolist() == kept


def test_an_unknown_context_is_named_with_the_valid_ones():
  with pytest.raises(errors.UserError, match="did you mean 'sibling'") as found:
    demonstrations.make_context("siblings")
  assert "gold_solution" in str(found.value)


def test_a_context_of_ones_own_is_reached_by_its_path():
  own = demonstrations.make_context("tests.rollouts.demonstrations_test:own")
  assert own is demonstrations_own()


def own(rollouts, stop_ids):
  """A context of a user's own."""
  return demonstrations.sibling(rollouts, stop_ids)


def demonstrations_own():
  """The same function by the path that a user would write."""
  import importlib

  return importlib.import_module("tests.rollouts.demonstrations_test").own
