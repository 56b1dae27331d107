"""Student and teacher side by side, by hand and by sampling."""

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax.metrics import teacher


def _values(fields):
  return {
    name: float(mean.value())
    for name, mean in teacher.teacher_means(**fields).items()
  }


def _fields(**changes):
  """Right with a teacher, wrong with, right without, and a row of padding."""
  nan, inf = jnp.nan, jnp.inf
  return {
    "d_hat": jnp.asarray(
      [[1.0, -1.0, nan], [0.0, 0.01, 0.2], [nan, inf, 0.0], [nan, nan, nan]]
    ),
    "has_teacher": jnp.asarray([1.0, 1.0, 0.0, 1.0]),
    "is_correct": jnp.asarray([1.0, 0.0, 1.0, 1.0]),
    "completion_mask": jnp.asarray(
      [[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    ),
    "teacher_entropies": jnp.asarray(
      [[0.5, 1.5, nan], [1.0, 1.0, 1.0], [nan, nan, nan], [nan, nan, nan]]
    ),
    "teacher_clip": 0.5,
  } | changes


def _k3(*gaps):
  return sum(np.exp(-d) - 1 + d for d in gaps)


def test_values_by_hand():
  expected = {
    "d_hat_mean": 0.21 / 5,
    "d_hat_mean/correct": 0.0,
    # 1, 0.01 and 0.2 of five tokens; 1 of two.
    "d_hat_pos_frac": 3 / 5,
    "d_hat_pos_frac/correct": 1 / 2,
    "kl_s_t": _k3(1, -1, 0, 0.01, 0.2) / 5,
    "kl_s_t/correct": _k3(1, -1) / 2,
    # 1, -1 and 0.2 lie further than 0.05 from 0.
    "changed_frac": 3 / 5,
    "teacher_entropy": 5 / 5,
    # exp(-1) lies below 0.5 and exp(1) above 1.5.
    "w_clip_low_frac": 1 / 2,
    "w_clip_high_frac": 1 / 2,
    "w_mean": 1.0,
    "active_row_frac": 1 / 3,
    "active_token_frac": 2 / 7,
    "no_sibling_frac": 1 / 2,
  }
  found = _values(_fields())
  assert found.keys() == {f"teacher/{name}" for name in expected}
  for name, value in expected.items():
    np.testing.assert_allclose(
      found[f"teacher/{name}"], value, rtol=1e-5, atol=1e-7, err_msg=name
    )


def test_what_is_not_given_is_left_out():
  found = _values(_fields(teacher_entropies=None, teacher_clip=None))
  assert not any("entropy" in name or "/w_" in name for name in found)


def test_a_width_of_1_clips_nothing_from_below():
  fields = _fields(teacher_clip=2.0)
  fields["d_hat"] = fields["d_hat"].at[0, :2].set(jnp.asarray([-20.0, 2.0]))
  found = _values(fields)
  assert found["teacher/w_clip_low_frac"] == 0.0
  # exp(2) = 7.4 is cut to 3.
  np.testing.assert_allclose(found["teacher/w_mean"], 1.5, rtol=1e-5)


def test_huge_gaps_stay_finite():
  fields = _fields(d_hat=jnp.full((4, 3), -500.0))
  found = _values(fields)
  assert all(map(np.isfinite, found.values()))
  np.testing.assert_allclose(found["teacher/d_hat_mean"], -20.0)


def test_nobody_taught_and_nobody_there():
  found = _values(_fields(has_teacher=jnp.zeros(4)))
  assert found.pop("teacher/no_sibling_frac") == 1.0
  assert set(found.values()) == {0.0}
  empty = _fields(completion_mask=jnp.zeros((4, 3)))
  assert set(_values(empty).values()) == {0.0}


def test_both_estimates_are_the_divergence_on_average():
  student, taught = jnp.asarray([0.5, 0.5]), jnp.asarray([0.9, 0.1])
  gap = jnp.log(student / taught)
  # Every token as often as the student takes it: here once each.
  found = _values(
    dict(
      d_hat=gap[None],
      has_teacher=jnp.ones(1),
      is_correct=jnp.ones(1),
      completion_mask=jnp.ones((1, 2)),
      teacher_clip=1.0,
    )
  )
  np.testing.assert_allclose(found["teacher/d_hat_mean"], 0.510826, atol=1e-6)
  np.testing.assert_allclose(found["teacher/kl_s_t"], 0.510826, atol=1e-6)
  # The mean weight of RLRT with this width, in closed form 1.277778.
  np.testing.assert_allclose(found["teacher/w_mean"], 1.277778, atol=1e-6)


def _random(seed=0, rows=8, length=5):
  rng = np.random.default_rng(seed)
  lengths = rng.integers(0, length + 1, rows)
  normal = lambda: jnp.asarray(rng.normal(size=(rows, length)), jnp.float32)
  bits = lambda: jnp.asarray(rng.integers(0, 2, rows), jnp.float32)
  mask = np.arange(length)[None] < lengths[:, None]
  return {
    "d_hat": normal(),
    "has_teacher": bits(),
    "is_correct": bits(),
    "completion_mask": jnp.asarray(mask, jnp.float32),
    "teacher_entropies": jnp.abs(normal()),
  }


def test_compiled_shuffled_and_split_the_sums_are_the_same():
  fields = _random()
  run = jax.jit(lambda x: teacher.teacher_means(teacher_clip=0.3, **x))
  take = lambda rows: run({name: x[rows] for name, x in fields.items()})
  whole, parts = run(fields), (take(slice(0, 4)), take(slice(4, 8)))
  merged = {name: parts[0][name].merge(parts[1][name]) for name in whole}
  shuffled = take(np.random.default_rng(2).permutation(8))
  eager = teacher.teacher_means(teacher_clip=0.3, **fields)
  for other in (merged, shuffled, eager):
    for name, mean in whole.items():
      np.testing.assert_allclose(
        other[name].total, mean.total, rtol=1e-4, atol=1e-6, err_msg=name
      )
      np.testing.assert_allclose(other[name].count, mean.count, rtol=1e-6)


def test_no_gradient_passes():
  fields = _random()
  loss = lambda d_hat: sum(
    mean.value()
    for mean in teacher.teacher_means(
      **fields | {"d_hat": d_hat}, teacher_clip=0.3
    ).values()
  )
  assert not np.any(jax.grad(loss)(fields["d_hat"]))
