"""Information against closed forms, and an estimate against exact sums."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax.analysis import information


def test_entropies_by_hand():
  np.testing.assert_allclose(
    information.entropy([0.25] * 4), 1.386294, atol=1e-6
  )
  rows = np.array([[0.5, 0.5], [1.0, 0.0], [0.9, 0.1]])
  expected = [np.log(2), 0.0, 0.325083]
  np.testing.assert_allclose(information.entropy(rows), expected, atol=1e-6)
  np.testing.assert_allclose(
    information.entropy(rows.T, axis=0), expected, atol=1e-6
  )


@pytest.mark.parametrize(
  "probs, message",
  [([0.5, 0.4], "probs sums to"), ([1.5, -0.5], "probs holds a number")],
)
def test_what_is_no_distribution_is_refused(probs, message):
  with pytest.raises(errors.UserError, match=message):
    information.entropy(probs)


def test_mutual_information_by_hand():
  joint = 0.5 * np.array([[0.9, 0.1], [0.1, 0.9]])
  found = information.mutual_information(joint)
  np.testing.assert_allclose(found, 0.693147 - 0.325083, atol=1e-6)
  np.testing.assert_allclose(found, 0.368064, atol=1e-6)


def test_independence_has_no_information():
  joint = np.outer([0.2, 0.3, 0.5], [0.1, 0.9])
  found = information.mutual_information(joint)
  assert 0.0 <= found < 1e-12
  # A context that never comes changes nothing.
  joint = np.concatenate([joint, np.zeros((1, 2))])
  assert 0.0 <= information.mutual_information(joint) < 1e-12


def test_mutual_information_is_what_the_context_takes_off_the_entropy():
  rng = np.random.default_rng(0)
  for _ in range(20):
    joint = rng.dirichlet(np.full(12, 0.3)).reshape(3, 4)
    context = joint.sum(axis=1)
    rest = context @ information.entropy(joint / context[:, None])
    expected = information.entropy(joint.sum(axis=0)) - rest
    found = information.mutual_information(joint)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(
      information.mutual_information(joint.T), found, atol=1e-12
    )


def test_gains_by_hand_sum_to_the_whole():
  gains = information.information_gain([2.0, 1.5, 1.5, 0.5])
  np.testing.assert_allclose(gains, [0.5, 0.0, 1.0])
  assert gains.sum() == 1.5
  assert information.information_gain([2.0]).shape == (0,)


def _bound(**changes):
  numbers = dict(first_entropy=2.0, threshold=0.5, frequency=0.1, gain=0.25)
  return information.steps_bound(**numbers | changes)


def test_the_bound_by_hand():
  np.testing.assert_allclose(_bound(), 60.0)
  assert _bound(threshold=2.0) == 0.0


@pytest.mark.parametrize(
  "changes", [{"threshold": 3.0}, {"frequency": 0.0}, {"gain": 0.0}]
)
def test_a_bound_of_nonsense_is_refused(changes):
  (name,) = changes
  with pytest.raises(errors.UserError, match=f"{name} is"):
    _bound(**changes)


def test_the_bound_holds_in_the_process_that_it_is_about():
  """Doubt comes with probability rho and takes delta off, nothing else does."""
  rng = np.random.default_rng(0)
  # From 2 to 0.5 in gains of 0.25 are six doubts.
  steps = rng.geometric(0.1, (4000, 6)).sum(axis=1)
  error = steps.std() / np.sqrt(len(steps))
  assert abs(steps.mean() - _bound()) < 4 * error


def test_richness_by_hand():
  teacher = jnp.asarray([[-1.0, -1.0, jnp.nan], [-0.5, jnp.nan, -jnp.inf]])
  student = jnp.asarray([[-2.0, -1.5, jnp.nan], [-0.5, 0.0, -jnp.inf]])
  mask = jnp.asarray([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
  found = information.information_richness(
    teacher_logprobs=teacher, logprobs=student, mask=mask
  )
  np.testing.assert_allclose(found["per_sequence"].value(), 0.75)
  np.testing.assert_allclose(found["per_token"].value(), 0.5)
  found = information.information_richness(
    teacher_logprobs=teacher, logprobs=student, mask=jnp.zeros((2, 3))
  )
  assert found["per_sequence"].value() == found["per_token"].value() == 0.0


def _richness(given, student):
  """Over all contexts and responses of two tokens, weighted by their chance.

  Args:
    given: f64[C, V, V], chance of each response under each context.
    student: f64[V, V].
  """
  contexts, vocab, _ = given.shape
  total = 0.0
  for c, i, j in itertools.product(range(contexts), range(vocab), range(vocab)):
    steps = lambda p, i=i, j=j: jnp.asarray(
      [[np.log(p[i].sum()), np.log(p[i, j] / p[i].sum())]], jnp.float32
    )
    found = information.information_richness(
      teacher_logprobs=steps(given[c]),
      logprobs=steps(student),
      mask=jnp.ones((1, 2)),
    )
    total += given[c, i, j] / contexts * float(found["per_sequence"].value())
  return total


def test_richness_is_the_mutual_information_on_average():
  rng = np.random.default_rng(0)
  given = rng.dirichlet(np.ones(4), 2).reshape(2, 2, 2)
  exact = information.mutual_information(given.reshape(2, 4) / 2)
  mixture = given.mean(axis=0)
  np.testing.assert_allclose(_richness(given, mixture), exact, atol=1e-5)
  # A student that is not the mixture over contexts puts it above.
  other = rng.dirichlet(np.ones(4)).reshape(2, 2)
  excess = np.sum(mixture * np.log(mixture / other))
  np.testing.assert_allclose(_richness(given, other), exact + excess, atol=1e-5)


def test_richness_of_parts_merges_to_the_whole():
  rng = np.random.default_rng(0)
  values = lambda: jnp.asarray(-rng.random((6, 4)), jnp.float32)
  fields = dict(
    teacher_logprobs=values(),
    logprobs=values(),
    mask=jnp.asarray(rng.integers(0, 2, (6, 4)), jnp.float32),
  )
  run = lambda rows: information.information_richness(
    **{name: x[rows] for name, x in fields.items()}
  )
  whole, first, second = run(slice(6)), run(slice(2)), run(slice(2, 6))
  for name, mean in whole.items():
    merged = first[name].merge(second[name])
    np.testing.assert_allclose(merged.value(), mean.value(), rtol=1e-5)
