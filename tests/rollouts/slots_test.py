"""Fewer slots than rollouts: the same rollouts, in fewer wasted steps."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import keys
from rlvr_jax import sharding
from rlvr_jax.rollouts import sampler
from rlvr_jax.rollouts import slots as slots_lib
from tests import testing

_KEY = keys.stream_key(5, "sample", 2)


def _generate(model, params, prompts, slots, samples=4, length=24, **settings):
  config = sampler.SamplerConfig(
    num_generations=samples,
    completion_tokens=length,
    slots=slots,
    **settings,
  )
  run = functools.partial(
    sampler.generate,
    model,
    config=config,
    stop_ids=(testing.EOS,),
    pad_id=testing.PAD,
  )
  return jax.jit(run)(params, prompts, _KEY)


def _assert_same(ours, theirs):
  """Tokens to the last; log-probs but for the order of sums."""
  for name, value in vars(theirs).items():
    if name in ("prompts", "decode_steps") or value is None:
      continue
    mine = getattr(ours, name)
    if jnp.issubdtype(mine.dtype, jnp.integer):
      np.testing.assert_array_equal(mine, value, err_msg=name)
    else:
      np.testing.assert_allclose(mine, value, atol=2e-5, err_msg=name)


@pytest.mark.parametrize(
  "slots",
  [pytest.param(x, marks=pytest.mark.slow) for x in (1, 8, 31)] + [3, 16],
)
def test_rollouts_are_the_same_for_any_number_of_slots(slots):
  model, params = testing.tiny_model()
  prompts = testing.prompt_batch(8, 5)
  at_once = _generate(model, params, prompts, 0)
  assert at_once.finished.mean() > 0.2  # lengths differ
  _assert_same(_generate(model, params, prompts, slots), at_once)


@pytest.mark.parametrize(
  "shape",
  [
    pytest.param(dict(scan_layers=True), marks=pytest.mark.slow),
    pytest.param(
      dict(sliding_layers=(0,), sliding_window=3), marks=pytest.mark.slow
    ),
    dict(sliding_layers=(0,), sliding_window=3, scan_layers=True),
  ],
)
def test_every_kind_of_cache_is_refilled(shape):
  model, params = testing.tiny_model(**shape)
  prompts = testing.prompt_batch(8, 5)
  _assert_same(
    _generate(model, params, prompts, 16),
    _generate(model, params, prompts, 0),
  )


def test_truncation_and_a_temperature_a_row_follow_their_rollouts():
  model, params = testing.tiny_model()
  prompts = testing.prompt_batch(8, 5)
  settings = dict(temperature=0.8, top_k=5)
  _assert_same(
    _generate(model, params, prompts, 5, **settings),
    _generate(model, params, prompts, 0, **settings),
  )


def test_more_slots_than_rollouts_are_a_slot_for_each():
  model, params = testing.tiny_model()
  prompts = testing.prompt_batch(2, 5)
  many = _generate(model, params, prompts, 100, length=6)
  np.testing.assert_array_equal(
    many.completion_tokens,
    _generate(model, params, prompts, 0, length=6).completion_tokens,
  )


def test_fewer_slots_take_fewer_steps():
  model, params = testing.tiny_model()
  prompts = testing.prompt_batch(8, 5)
  steps = {}
  for slots in (0, 4):
    batch = _generate(model, params, prompts, slots)
    steps[slots] = float(batch.decode_steps.sum())
    assert steps[slots] >= batch.completion_mask.sum()
  assert steps[4] < 0.8 * steps[0]


@pytest.mark.parametrize(
  "slots, rows", [(0, 2), (0, 8), pytest.param(5, 8, marks=pytest.mark.slow)]
)
def test_passes_change_no_rollout(slots, rows):
  model, params = testing.tiny_model()
  prompts = testing.prompt_batch(8, 5)
  ours = _generate(model, params, prompts, slots, rows_per_pass=rows)
  _assert_same(ours, _generate(model, params, prompts, 0))
  np.testing.assert_array_equal(ours.prompts.prompt_ids, prompts.prompt_ids)


@pytest.mark.parametrize(
  "slots, rows, mesh",
  [
    (8, 0, dict(fsdp=2)),
    (8, 16, dict(data=2, tensor=2)),
  ]
  + [
    pytest.param(slots, rows, mesh, marks=pytest.mark.slow)
    for slots, rows in [(0, 4), (0, 16), (8, 8), (16, 0), (31, 0)]
    for mesh in [dict(fsdp=4), dict(data=2, fsdp=2, tensor=2)]
  ],
)
def test_each_device_samples_the_rows_of_its_own_prompts(slots, rows, mesh):
  model, params = testing.tiny_model()
  prompts = testing.prompt_batch(8, 5)
  mesh = sharding.make_mesh(sharding.MeshConfig(**mesh))
  spread = jax.device_put(prompts, sharding.row_sharding(mesh))
  on_mesh = model.clone(partition=sharding.partition(mesh))
  everywhere = jax.device_put(params, sharding.replicated(mesh))
  ours = _generate(on_mesh, everywhere, spread, slots, rows_per_pass=rows)
  theirs = _generate(model, params, prompts, 0)
  _assert_same(ours, theirs)
  # Steps are those of the device that takes longest.
  least = theirs.completion_mask.sum(axis=1).reshape(len(mesh.devices), -1)
  assert ours.decode_steps.sum() >= least.sum(axis=1).max()


def test_no_device_waits_for_others_rows_while_it_samples():
  model, params = testing.tiny_model()
  mesh = sharding.make_mesh(sharding.MeshConfig(fsdp=2))
  on_mesh = model.clone(partition=sharding.partition(mesh))
  run = functools.partial(
    sampler.generate,
    on_mesh,
    config=sampler.SamplerConfig(4, 24, slots=8),
    stop_ids=(testing.EOS,),
    pad_id=testing.PAD,
  )
  everywhere = sharding.replicated(mesh)
  rows = sharding.row_sharding(mesh)
  jitted = jax.jit(run, in_shardings=(everywhere, rows, everywhere))
  lowered = jitted.lower(params, testing.prompt_batch(8, 5), _KEY)
  text = lowered.compile().as_text()
  loops = re.findall(r"body=%([\w.\-]+)", text)
  assert loops
  for name in loops:
    body = re.search(rf"^%{re.escape(name)} .*?^}}", text, re.S | re.M)[0]
    assert not re.search("all-reduce|all-gather|all-to-all|permute", body)


@pytest.mark.parametrize("rows", [3, 64])
def test_passes_that_do_not_divide_the_rows_are_refused(rows):
  model, params = testing.tiny_model()
  with pytest.raises(errors.UserError, match="8 prompts with 4 samples"):
    prompts = testing.prompt_batch(8, 5)
    _generate(model, params, prompts, 0, rows_per_pass=rows)


def test_a_negative_number_is_refused():
  with pytest.raises(errors.UserError, match="config.rollout.slots is -1"):
    sampler.SamplerConfig(4, 6, slots=-1)


def test_a_free_slot_takes_the_next_rollout_in_turn():
  slots = slots_lib.first(num_rows=5, num_slots=3)
  ended = jnp.array([True, False, True])
  slots, begins = slots_lib.refilled(slots, ended, num_rows=5)
  np.testing.assert_array_equal(slots.rows, [3, 1, 4])
  np.testing.assert_array_equal(slots.ages, [0, 1, 0])
  np.testing.assert_array_equal(begins, ended)
  slots, begins = slots_lib.refilled(slots, ended, num_rows=5)
  np.testing.assert_array_equal(slots.rows, [5, 1, 5])
  assert not begins.any()
  assert slots.queue == 5


def test_busy_slots_are_packed_in_their_order():
  slots = slots_lib.Slots(
    rows=jnp.array([5, 4, 5, 2]), ages=jnp.arange(4), queue=jnp.array(5)
  )
  np.testing.assert_array_equal(slots_lib.packed(slots, 2, num_rows=5), [1, 3])


def test_a_ring_shows_a_rollout_its_own_columns():
  # Step 9 writes column 1 of 4; a rollout of age 2 began at step 7.
  seen = slots_lib.own_columns(jnp.array(9), jnp.array([2, 0]), 4)
  np.testing.assert_array_equal(
    seen, [[True, True, False, True], [False, True, False, False]]
  )


@pytest.mark.parametrize("num_slots", [1, 7, 8, 64])
def test_steps_are_bounded_whatever_the_lengths(num_slots):
  """List scheduling by hand, with random and with worst lengths."""
  rng, tokens, rows = np.random.default_rng(0), 12, 40
  limit = slots_lib.max_steps(rows, min(num_slots, rows), tokens)
  cases = [rng.integers(1, tokens + 1, rows) for _ in range(20)]
  cases += [np.full(rows, tokens), np.r_[np.ones(rows - 1, int), tokens]]
  for lengths in cases:
    ends = np.zeros(min(num_slots, rows), int)
    for length in lengths:
      ends[np.argmin(ends)] += length
    assert ends.max() <= limit


def test_stages_grow_the_cache_or_shrink_the_batch():
  grown = slots_lib.stages(32, 32, 64)
  assert [(x.num_slots, x.capacity) for x in grown] == [
    (32, 16),
    (32, 32),
    (32, 64),
  ]
  shrunk = slots_lib.stages(256, 32, 64)
  assert [(x.num_slots, x.least_active) for x in shrunk] == [
    (32, 16),
    (16, 8),
    (8, 0),
  ]
