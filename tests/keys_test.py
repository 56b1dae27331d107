"""Random draws depend on their coordinates and on nothing else."""

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import keys


def _uniforms(seed, step, prompts, samples, positions=4):
  rows = keys.row_keys(
    keys.stream_key(seed, "sample", step),
    jnp.asarray(prompts, jnp.int32),
    jnp.asarray(samples, jnp.int32),
  )
  return np.asarray(keys.position_uniforms(rows, positions))


def test_a_row_draws_the_same_in_every_batch():
  together = _uniforms(3, 7, [5, 9, 5], [0, 0, 1])
  np.testing.assert_array_equal(together[1:2], _uniforms(3, 7, [9], [0]))
  np.testing.assert_array_equal(
    together[[2, 0]], _uniforms(3, 7, [5, 5], [1, 0])
  )


def test_a_position_draws_the_same_in_every_bucket():
  np.testing.assert_array_equal(
    _uniforms(0, 0, [1], [0], 3), _uniforms(0, 0, [1], [0], 9)[:, :3]
  )


def test_every_coordinate_changes_the_draw():
  base = _uniforms(0, 0, [1], [0])
  others = [
    _uniforms(1, 0, [1], [0]),
    _uniforms(0, 1, [1], [0]),
    _uniforms(0, 0, [2], [0]),
    _uniforms(0, 0, [1], [1]),
  ]
  for other in others:
    assert not np.any(base == other)
  assert len(np.unique(base)) == base.size


def test_streams_are_apart():
  data = [
    tuple(jax.random.key_data(keys.stream_key(0, stream)).tolist())
    for stream in keys.STREAMS
  ]
  assert len(set(data)) == len(keys.STREAMS)
