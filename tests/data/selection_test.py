"""Selection: uniform epochs, and the prompts nearest to an accuracy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from rlvr_jax import errors
from rlvr_jax.data import selection

_uniform = jax.jit(
  selection.uniform, static_argnames=("num_prompts", "batch_size")
)
_STATIC = (
  "batch_size",
  "target",
  "explore_frac",
  "no_repeat_frac",
  "warmup_steps",
  "warmup_error",
)
_nearest = jax.jit(selection.nearest_accuracy, static_argnames=_STATIC)
_FIVE = (0.10, 0.45, 0.50, 0.62, 0.90)


def _steps(seed, num_prompts, batch_size, steps):
  found = [
    _uniform(
      seed=seed, step=step, num_prompts=num_prompts, batch_size=batch_size
    )
    for step in range(steps)
  ]
  assert all(np.all(np.asarray(explored) == 1) for _, explored in found)
  return np.concatenate([ids for ids, _ in found])


@pytest.mark.parametrize("num_prompts, batch_size", [(12, 4), (10, 4), (7, 7)])
def test_every_prompt_comes_once_an_epoch(num_prompts, batch_size):
  epochs = 4
  steps = -(-epochs * num_prompts // batch_size)
  ids = _steps(0, num_prompts, batch_size, steps)[: epochs * num_prompts]
  for epoch in ids.reshape(epochs, num_prompts):
    np.testing.assert_array_equal(np.sort(epoch), np.arange(num_prompts))


def test_epochs_and_seeds_have_orders_of_their_own():
  first, second = _steps(0, 50, 50, 2).reshape(2, 50)
  other = _steps(1, 50, 50, 1)
  assert not np.array_equal(first, second)
  assert not np.array_equal(first, other)


def test_a_batch_larger_than_the_data_set_still_names_prompts():
  assert set(_steps(0, 3, 8, 1).tolist()) == {0, 1, 2}


def _fields(estimates, **changes):
  """Arguments of `nearest_accuracy` for prompts that were never chosen."""
  estimates = jnp.asarray(estimates, jnp.float32)
  defaults = dict(
    accuracy_estimates=estimates,
    candidates=jnp.ones_like(estimates),
    last_steps=jnp.full(estimates.shape, -1, jnp.int32),
    excess_error=jnp.asarray(jnp.inf),
    seed=0,
    step=0,
    batch_size=2,
  )
  return defaults | changes


def _chosen(estimates, **changes):
  ids, explored = _nearest(**_fields(estimates, **changes))
  assert ids.dtype == jnp.int32 and explored.dtype == jnp.float32
  assert len(set(ids.tolist())) == len(ids)
  return ids.tolist(), explored.tolist()


@functools.partial(jax.jit, static_argnames=("steps", *_STATIC))
def _many(steps, fields, **static):
  one = lambda step: selection.nearest_accuracy(
    **(fields | {"step": step}), **static
  )
  return jax.vmap(one)(jnp.arange(steps))[0]


def _over_steps(steps, estimates, **changes):
  """Ids of many steps, i32[steps, B]."""
  fields = _fields(estimates, **changes)
  static = {name: fields.pop(name) for name in _STATIC if name in fields}
  return np.asarray(_many(steps, fields, **static))


def _p_value(ids, num_prompts):
  """Of a chi-square test against equal chances.

  Prompts of a batch exclude each other, so that counts vary less than this
  test supposes: it errs towards large values.
  """
  counts = np.bincount(ids.ravel(), minlength=num_prompts)
  return scipy.stats.chisquare(counts).pvalue


def test_the_nearest_to_the_target_come_first():
  assert _chosen(_FIVE) == ([2, 1], [0.0, 0.0])
  assert _chosen(_FIVE, batch_size=3) == ([2, 1, 3], [0.0] * 3)
  assert _chosen(_FIVE, target=0.9) == ([4, 3], [0.0, 0.0])


def test_estimates_are_clipped_before_they_are_compared():
  """1.7 counts as 1, at a distance of 0.5, and -0.6 as 0."""
  assert _chosen([1.7, 0.05, -0.6], batch_size=1)[0] == [1]
  # 0.30 away as 1, 1.0 away as 1.7.
  assert _chosen([1.7, 0.35], batch_size=1, target=0.7)[0] == [0]
  for seed in range(5):
    assert _chosen([1.7, -0.6], seed=seed) == _chosen([1.0, 0.0], seed=seed)


def test_all_explored_is_uniform_sampling():
  ids = _over_steps(2000, np.linspace(0, 1, 12), batch_size=3, explore_frac=1.0)
  assert _p_value(ids, 12) > 1e-3
  assert _chosen(_FIVE, explore_frac=1.0)[1] == [1.0, 1.0]


def test_a_share_of_the_batch_is_explored_among_the_others():
  """Six of eight are the nearest; the other two any of the rest."""
  estimates = np.linspace(0.5, 1.0, 12)
  changes = dict(batch_size=8, explore_frac=0.25)
  ids, explored = _chosen(estimates, **changes)
  assert explored == [0.0] * 6 + [1.0] * 2
  assert ids[:6] == list(range(6))
  drawn = _over_steps(2000, estimates, **changes)[:, 6:] - 6
  assert drawn.min() == 0
  assert _p_value(drawn, 6) > 1e-3


@pytest.mark.parametrize("explore_frac", [0.0, 0.5, 1.0])
def test_only_candidates_are_chosen(explore_frac):
  candidates = jnp.asarray([1.0, 0.0, 0.0, 1.0, 1.0])
  for step in range(5):
    changes = dict(step=step, batch_size=3, explore_frac=explore_frac)
    ids, _ = _chosen(_FIVE, candidates=candidates, **changes)
    assert set(ids) == {0, 3, 4}
    warm, _ = _chosen(_FIVE, candidates=candidates, warmup_steps=9, **changes)
    assert set(warm) == {0, 3, 4}


def test_a_chosen_prompt_rests():
  """Half an epoch of 20 prompts, 4 at a time, is 2 whole steps."""
  estimates = np.linspace(0.5, 1.0, 20)
  last = np.full(20, -1, np.int32)
  history = []
  for step in range(12):
    ids, _ = _chosen(
      estimates,
      last_steps=jnp.asarray(last),
      step=step,
      batch_size=4,
      no_repeat_frac=0.5,
    )
    history.append(ids)
    last[ids] = step
  for step, ids in enumerate(history):
    window = sum(history[step + 1 : step + 3], [])
    assert set(ids).isdisjoint(window)
  # The nearest, then the next, and after two steps of rest the nearest again.
  assert [set(ids) for ids in history[:4]] == [
    set(range(4)),
    set(range(4, 8)),
    set(range(8, 12)),
    set(range(4)),
  ]


def test_resting_prompts_fill_a_batch_that_has_too_few_others():
  last = jnp.asarray([-1, 6, 6, 6, 0], jnp.int32)
  ids, _ = _chosen(
    _FIVE, last_steps=last, step=7, batch_size=3, no_repeat_frac=0.9
  )
  # 0 was never chosen, 4 has rested enough; 2 is the nearest that rests.
  assert ids == [4, 0, 2] or ids == [0, 4, 2]
  ids, _ = _chosen(_FIVE, last_steps=last, step=7, no_repeat_frac=0.0)
  assert ids == [2, 1]


@pytest.mark.parametrize(
  "step, excess_error, warm",
  [
    (0, np.inf, True),
    (9, np.inf, True),
    (10, np.inf, False),
    (3, 0.11, True),
    (3, 0.09, False),
    (3, np.nan, True),
  ],
)
def test_the_warm_up_is_uniform_until_it_ends(step, excess_error, warm):
  _, explored = _chosen(
    _FIVE,
    step=step,
    excess_error=jnp.asarray(excess_error, jnp.float32),
    warmup_steps=10,
    warmup_error=0.1,
  )
  assert explored == [float(warm)] * 2


def test_the_warm_up_samples_uniformly():
  ids = _over_steps(
    2000, np.linspace(0, 1, 12), batch_size=3, warmup_steps=9999
  )
  assert _p_value(ids, 12) > 1e-3


@pytest.mark.parametrize("estimate", [0.5, 0.3, 0.0, 1.7])
def test_ties_are_drawn_anew_at_each_step(estimate):
  """Also far from the target, where a small jitter would be rounded away."""
  ids = _over_steps(500, np.full(400, estimate), batch_size=4)
  assert _p_value(ids // 40, 10) > 1e-3


def test_no_prompt_comes_twice_in_a_batch():
  rng = np.random.default_rng(0)
  for step in range(60):
    _chosen(
      np.round(rng.random(11) * 1.4 - 0.2, 1),
      candidates=jnp.asarray(rng.permutation(11) < 8, jnp.float32),
      last_steps=jnp.asarray(rng.integers(-1, step + 1, 11), jnp.int32),
      excess_error=jnp.asarray(rng.random(), jnp.float32),
      step=step,
      batch_size=8,
      explore_frac=0.3,
      no_repeat_frac=0.7,
      warmup_steps=30,
      warmup_error=0.5,
    )


def test_a_choice_is_a_function_of_seed_and_step():
  choose = functools.partial(
    _chosen, np.full(50, 0.5), batch_size=6, explore_frac=0.5
  )
  assert choose(seed=3, step=4) == choose(seed=3, step=4)
  assert choose(seed=3, step=4) != choose(seed=4, step=4)
  assert choose(seed=3, step=4) != choose(seed=3, step=5)


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(explore_frac=1.1), r"explore_frac is 1.1: it is a share in \[0, 1\]"),
    (dict(explore_frac=-0.1), r"explore_frac is -0.1: it is a share in"),
    (dict(no_repeat_frac=1.0), r"no_repeat_frac is 1.0: it is a share in"),
    (dict(no_repeat_frac=-0.5), r"no_repeat_frac is -0.5: it is a share in"),
  ],
)
def test_shares_outside_of_their_range_are_refused(changes, message):
  with pytest.raises(errors.UserError, match=message):
    _chosen(_FIVE, **changes)
