"""Steps and phrases, read off the token ids."""

import functools

import jax.numpy as jnp

from rlvr_jax import derived
from tests import marks


def _call(method, tokens, mask=None, transform=lambda f: f, **settings):
  tokens = jnp.asarray(tokens, jnp.int32)
  mask = jnp.ones(tokens.shape) if mask is None else jnp.asarray(mask)
  return transform(functools.partial(method, **settings))(
    completion_tokens=tokens, completion_mask=mask.astype(jnp.float32)
  )


_steps = functools.partial(_call, derived.segment_ids)
_planning = functools.partial(_call, derived.planning_tokens)


@marks.with_and_without_jit
def test_a_separator_ends_its_own_step(transform):
  found = _steps([[5, 9, 6, 9, 9, 7]], transform=transform, separator_ids=(9,))
  assert found.tolist() == [[0, 0, 1, 1, 2, 3]]
  assert found.dtype == jnp.int32


def test_any_of_several_separators():
  found = _steps([[5, 8, 6, 9], [9, 5, 5, 8]], separator_ids=(8, 9))
  assert found.tolist() == [[0, 0, 1, 1], [0, 1, 1, 1]]


def test_padding_lies_outside_of_every_step():
  # A separator in the padding ends nothing.
  found = _steps(
    [[5, 9, 6, 9], [9, 9, 9, 9]],
    mask=[[1, 1, 1, 0], [0, 0, 0, 0]],
    separator_ids=(9,),
  )
  assert found.tolist() == [[0, 0, 1, -1], [-1, -1, -1, -1]]


def test_without_separators_there_is_one_step():
  assert _steps([[5, 9, 6]]).tolist() == [[0, 0, 0]]


@marks.with_and_without_jit
def test_all_tokens_of_a_phrase_are_planning_tokens(transform):
  found = _planning(
    [[3, 4, 5, 4, 4, 5]], transform=transform, phrases=((4, 5),)
  )
  assert found.tolist() == [[0.0, 1.0, 1.0, 0.0, 1.0, 1.0]]


def test_phrases_overlap_with_themselves_and_each_other():
  # "7 7" starts at 0 and at 1; "2 7" ends where "7 1" begins.
  found = _planning([[7, 7, 7, 2, 7, 1]], phrases=((7, 7),))
  assert found.tolist() == [[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]]
  found = _planning([[7, 7, 7, 2, 7, 1]], phrases=((2, 7), (7, 1)))
  assert found.tolist() == [[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]]


def test_a_phrase_ends_within_the_completion():
  # The padding would complete it in row 0, the row's end in row 1, and the
  # next row in neither.
  found = _planning(
    [[3, 4, 5], [3, 3, 4], [5, 3, 3]],
    mask=[[1, 1, 0], [1, 1, 1], [1, 1, 1]],
    phrases=((4, 5),),
  )
  assert found.tolist() == [[0.0] * 3] * 3


def test_a_phrase_longer_than_the_completion_is_not_found():
  found = _planning([[4, 4]], phrases=((4, 4, 4, 4),))
  assert found.tolist() == [[0.0, 0.0]]
  assert _planning([[4, 4]], phrases=((4, 4),)).tolist() == [[1.0, 1.0]]


def test_without_phrases_there_are_no_planning_tokens():
  assert _planning([[3, 4]]).tolist() == [[0.0, 0.0]]
