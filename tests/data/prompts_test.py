"""Buckets of token ids: left-padded prompts, demonstrations side by side."""

import jax
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import vocabulary

_V = vocabulary.ARITHMETIC


def _rows():
  return [
    {"prompt": "1+2=", "demonstrations": "3\n3+0", "answer": 3},
    {"prompt": "9=", "demonstrations": "9", "answer": 9},
  ]


def _encode(prompt_tokens=5, completion_tokens=4, rows=None):
  return prompts_lib.prompt_set(
    _rows() if rows is None else rows,
    _V,
    prompt_tokens,
    completion_tokens,
    ("answer",),
  )


def test_prompts_are_padded_on_the_left():
  batch = _encode().prompts
  np.testing.assert_array_equal(
    batch.prompt_tokens, [[0, *_V.encode("1+2=")], [0, 0, 0, *_V.encode("9=")]]
  )
  np.testing.assert_array_equal(
    batch.prompt_mask, [[0, 1, 1, 1, 1], [0, 0, 0, 1, 1]]
  )
  np.testing.assert_array_equal(batch.answers["answer"], [3, 9])
  np.testing.assert_array_equal(batch.prompt_ids, [0, 1])


def test_demonstrations_end_and_are_found_by_prompt():
  encoded = _encode()
  np.testing.assert_array_equal(
    encoded.demonstrations,
    [
      [*_V.encode("3"), 1, 0, 0],
      [*_V.encode("3+0"), 1],
      [*_V.encode("9"), 1, 0, 0],
    ],
  )
  np.testing.assert_array_equal(encoded.first_demonstration, [0, 2])
  np.testing.assert_array_equal(encoded.num_demonstrations, [2, 1])


def test_take_gathers_every_field():
  batch = prompts_lib.take(
    jax.device_put(_encode().prompts), jax.numpy.array([1, 1])
  )
  np.testing.assert_array_equal(batch.prompt_ids, [1, 1])
  np.testing.assert_array_equal(batch.answers["answer"], [9, 9])


@pytest.mark.parametrize(
  "lengths, message",
  [
    ((3, 4), "config.data.prompt_tokens is 3, but '1.2=' has 4 tokens"),
    ((5, 3), "config.rollout.completion_tokens is 3, but '3.0' has 4 tokens"),
  ],
)
def test_a_text_longer_than_its_bucket_is_refused(lengths, message):
  with pytest.raises(errors.UserError, match=message):
    _encode(*lengths)


def test_an_empty_split_is_refused():
  with pytest.raises(errors.UserError, match="empty"):
    _encode(rows=[])
