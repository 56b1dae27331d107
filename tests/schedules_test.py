"""Numbers by step."""

import jax
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax.schedules import Schedule


def _at(schedule, steps):
  return [float(schedule(step)) for step in steps]


def test_a_number_alone_stays():
  assert _at(Schedule(20.0), [0, 1, 10**6]) == [20.0] * 3
  assert Schedule(20.0).values == (20.0,)


def test_a_linear_schedule_ends_at_its_stop():
  schedule = Schedule(1.0, 2.0, 100)
  assert _at(schedule, [0, 25, 50, 100, 5000]) == [1.0, 1.25, 1.5, 2.0, 2.0]
  assert schedule.values == (1.0, 2.0)


def test_it_may_end_at_zero():
  assert _at(Schedule(1.0, num_steps=4), [0, 1, 4, 8]) == [1.0, 0.75, 0.0, 0.0]


def test_a_harmonic_schedule_moves_the_reciprocal_evenly():
  # TBA divides by 0.014 at first and by 0.004 from update 500 on.
  schedule = Schedule(1 / 0.014, 1 / 0.004, 500, shape="harmonic")
  divisors = [1 / value for value in _at(schedule, [0, 250, 500, 501])]
  np.testing.assert_allclose(divisors, [0.014, 0.009, 0.004, 0.004], rtol=1e-6)


def test_a_step_may_be_traced():
  schedule = Schedule(1.0, 2.0, 10)
  found = jax.jit(schedule)(5)
  assert (found, found.dtype, found.shape) == (1.5, "float32", ())
  assert jax.jit(Schedule(3.0))(5).dtype == "float32"


@pytest.mark.parametrize(
  "settings, message",
  [
    (
      dict(start=1.0, shape="cosine"),
      "shape is 'cosine': choose one of harmonic, linear",
    ),
    (
      dict(start=1.0, stop=0.0, num_steps=5, shape="harmonic"),
      "stop is 0.0, start 1.0: a harmonic schedule needs two numbers of one",
    ),
    # Nobody would ever see the 2.
    (
      dict(start=1.0, stop=2.0),
      "num_steps is 0, stop 2.0: say after how many rollout batches",
    ),
    (dict(start=1.0, num_steps=-5), "num_steps is -5, stop 0.0: say after"),
  ],
)
def test_mistakes_are_refused_by_field_and_value(settings, message):
  with pytest.raises(errors.UserError) as caught:
    Schedule(**settings)
  assert str(caught.value).startswith(message)
  assert "\n" not in str(caught.value)
