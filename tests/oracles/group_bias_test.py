"""What group and batch statistics do to the gradient of the expected reward.

With rewards of 0 and 1 a prompt of success probability p has the expected
gradient w(p) * grad p, where

  w(p) = sum_j C(n - 1, j) p^j (1 - p)^(n - 1 - j) * (A+(j + 1) - A-(j))

and A+(k), A-(k) are the advantages of a right and a wrong row in a group of n
with k right ones: a sample meets j right companions whether it is right, with
score grad p, or wrong, with score -grad p. So GRPO climbs F with F' = w.

Numbers, with Bessel's correction. Groups of two and three have the constants
w = 1 / sqrt(2) and 2 / sqrt(3): for binary rewards a mere scale. From four on
w grows towards p = 0 and p = 1, up to (n - 1) / sqrt(n). Relative to p = 1/2:

    p       n = 4    n = 8    n = 16
    0.3      1.01     1.06     1.08
    0.1      1.05     1.25     1.47
    0.01     1.07     1.41     1.93

In the limit of large groups w = 1 / sqrt(p (1 - p)), F = 2 arcsin(sqrt(p)).
"""

import math

import jax.numpy as jnp
import numpy as np
from numpy import polynomial
import pytest

from rlvr_jax import advantages
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from tests.oracles import enumeration

_bound = objective_lib.bound
# Three completions of one or two tokens: token 0 ends one.
_SPACE = enumeration.space(vocab_size=2, length=2, end=0)
_BINARY = np.array([0.0, 1.0, 0.0])
_TABLES = [[[0.3, -0.4], [0.9, -0.2]], [[-1.2, 1.0], [-0.8, 0.7]]]
_TOKEN_SUM = _bound(losses.fixed_length, length=1)


def _method(advantage, **changes):
  return objective_lib.Objective(
    advantage=advantage,
    token_loss=_bound(losses.reinforce),
    aggregate=_TOKEN_SUM,
    **changes,
  )


def _success(table, rewards=_BINARY):
  chances = enumeration.probabilities(table, _SPACE)
  return jnp.sum(chances * jnp.asarray(rewards, table.dtype))


def _estimate(method, tables, samples):
  """Expected gradient of a batch that holds one group of each prompt."""
  return enumeration.expected_gradient(
    method,
    lambda tables: enumeration.stacked(
      [enumeration.fields(table, _SPACE, _BINARY) for table in tables]
    ),
    tables,
    enumeration.draws(
      [enumeration.probabilities(table, _SPACE) for table in tables], samples
    ),
  )


def _credits(right, samples, ddof, epsilon):
  """GRPO's advantages of a right and of a wrong row, from the counts alone."""
  wrong = samples - right
  if not right * wrong:
    return 0.0, 0.0
  std = math.sqrt(right * wrong / (samples * (samples - ddof)))
  return wrong / samples / (std + epsilon), -right / samples / (std + epsilon)


def _weight(p, samples, ddof=1, epsilon=1e-6):
  """w at p, which may be a polynomial."""
  total = 0.0
  for others in range(samples):
    right = _credits(others + 1, samples, ddof, epsilon)[0]
    wrong = _credits(others, samples, ddof, epsilon)[1]
    chance = p**others * (1 - p) ** (samples - 1 - others)
    total += math.comb(samples - 1, others) * chance * (right - wrong)
  return total


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("samples", [2, 3, 5])
def test_grpo_climbs_a_function_of_the_success_probability(
  precision, samples, ddof
):
  table = precision.array(_TABLES[:1])
  estimate = _estimate(
    _method(_bound(advantages.grpo_advantages, ddof=ddof)), table, samples
  )
  variable = polynomial.Polynomial([0.0, 1.0])
  climbed = _weight(variable, samples, ddof).integ().coef

  def surrogate(table):
    p = _success(table[0])
    return sum(float(c) * p**power for power, c in enumerate(climbed))

  enumeration.assert_equal(
    estimate, enumeration.gradient(surrogate)(table), precision
  )


def test_small_groups_are_merely_rescaled_and_large_ones_are_not():
  at = lambda samples, p: _weight(p, samples, epsilon=0.0)
  for p in (0.0, 0.1, 0.5, 0.9):
    np.testing.assert_allclose(at(2, p), 1 / math.sqrt(2), rtol=1e-12)
    np.testing.assert_allclose(at(3, p), 2 / math.sqrt(3), rtol=1e-12)
  relative = lambda p: [
    round(at(samples, p) / at(samples, 0.5), 2) for samples in (4, 8, 16)
  ]
  assert relative(0.3) == [1.01, 1.06, 1.08]
  assert relative(0.1) == [1.05, 1.25, 1.47]
  assert relative(0.01) == [1.07, 1.41, 1.93]
  for samples in (4, 8, 16):
    edge = (samples - 1) / math.sqrt(samples)
    np.testing.assert_allclose(at(samples, 0.0), edge, rtol=1e-12)
  np.testing.assert_allclose(at(500, 0.3), (0.3 * 0.7) ** -0.5, rtol=3e-3)


def test_without_the_deviation_every_prompt_has_the_same_weight(precision):
  tables = precision.array(_TABLES)
  estimate = _estimate(
    _method(_bound(advantages.grpo_advantages, normalize_std=False)), tables, 3
  )
  mean = lambda tables: 0.5 * (_success(tables[0]) + _success(tables[1]))
  enumeration.assert_equal(
    estimate, 2 / 3 * enumeration.gradient(mean)(tables), precision
  )


def _angle(first, second):
  """In degrees."""
  return round(math.degrees(math.acos(enumeration.cosine(first, second))), 2)


def test_grpo_turns_the_gradient_towards_hard_and_easy_prompts(precision):
  # Two prompts of one token, right with probability 0.1 and 0.5, each with a
  # logit of its own: grad J is (0.09, 0.25) / 2. GRPO turns it towards the hard
  # one: by 0.83 degrees in groups of four, 4.5 in groups of eight, 8.13 in
  # groups of sixteen.
  over = enumeration.space(vocab_size=2, length=1)
  table = lambda logit: jnp.stack([jnp.zeros_like(logit), logit])[None]
  logits = precision.array([math.log(0.1 / 0.9), 0.0])
  fields_of = lambda logits: enumeration.stacked(
    [enumeration.fields(table(z), over, [0.0, 1.0]) for z in logits]
  )
  chances = [enumeration.probabilities(table(z), over) for z in logits]
  estimate = lambda advantage: enumeration.expected_gradient(
    _method(_bound(advantage)), fields_of, logits, enumeration.draws(chances, 4)
  )
  exact = np.array([0.09, 0.25]) / 2
  weigh = lambda samples: _weight(np.array([0.1, 0.5]), samples) * exact
  enumeration.assert_equal(
    estimate(advantages.rloo_advantages), exact, precision
  )
  found = estimate(advantages.grpo_advantages)
  enumeration.assert_equal(found, weigh(4), precision)
  assert _angle(found, exact) == 0.83
  assert [_angle(weigh(n), exact) for n in (8, 16)] == [4.5, 8.13]


@pytest.mark.parametrize("samples", [2, 3])
def test_dropping_equal_groups_weighs_a_prompt_by_its_company(
  precision, samples
):
  # An equal group has no gradient anyway, but its rows leave the denominator:
  # a prompt counts fully where the other one is dropped, half where it is not.
  tables = precision.array(_TABLES)
  method = _method(
    _bound(advantages.dr_grpo_advantages),
    filters=(_bound(advantages.mixed_groups),),
  )
  chances = [float(_success(table)) for table in tables]
  mixed = [1 - p**samples - (1 - p) ** samples for p in chances]

  def climbed(tables):
    first, second = (_success(table) for table in tables)
    return (1 - mixed[1] / 2) * first + (1 - mixed[0] / 2) * second

  exact = enumeration.gradient(climbed)(tables)
  enumeration.assert_equal(
    _estimate(method, tables, samples),
    (samples - 1) / samples * exact,
    precision,
  )


def _count_chances(probabilities):
  """Chances of 0, 1, ... successes in independent trials."""
  chances = np.array([1.0])
  for p in probabilities:
    chances = np.append(chances * (1 - p), 0.0) + np.append(0.0, chances * p)
  return chances


# Completions of one token, so that statistics over tokens are over rows.
_ONE_TOKEN = enumeration.space(vocab_size=3, length=1)
_ONE_TABLES = [[[0.3, -0.4, 0.1]], [[-1.2, 1.0, 0.4]]]


def _assert_weighed(advantage, weigh, precision):
  """Compares batches of two rows of two prompts with weighted gradients.

  Args:
    advantage: the function to test.
    weigh: own and other success probability -> weight of a prompt.
    precision: of the test.
  """
  success = lambda table: enumeration.probabilities(table, _ONE_TOKEN)[1]
  tables = precision.array(_ONE_TABLES)
  estimate = enumeration.expected_gradient(
    _method(_bound(advantage)),
    lambda tables: enumeration.stacked(
      [enumeration.fields(table, _ONE_TOKEN, [0, 1, 0]) for table in tables]
    ),
    tables,
    enumeration.draws(
      [enumeration.probabilities(table, _ONE_TOKEN) for table in tables], 2
    ),
  )
  first, second = (float(success(table)) for table in tables)
  weights = weigh(first, second), weigh(second, first)
  climbed = lambda tables: (
    0.5
    * sum(
      weight * success(table)
      for weight, table in zip(weights, tables, strict=True)
    )
  )
  exact = enumeration.gradient(climbed)(tables)
  enumeration.assert_equal(estimate, exact, precision)


def test_the_batch_as_one_group_weighs_each_prompt_by_all_others(precision):
  # REINFORCE++: the advantage of a row depends on the number k of right rows
  # in the whole batch of four. A prompt's weight is the mean of A+ over what
  # the three other rows do if this one is right, minus that of A- if it is not.
  def credit(right, is_right):
    variance = right * (4 - right) / (4 * 3)
    return (is_right - right / 4) / math.sqrt(variance + 1e-8)

  def weigh(own, other):
    return sum(
      chance * (credit(k + 1, 1) - credit(k, 0))
      for k, chance in enumerate(_count_chances([own, other, other]))
    )

  _assert_weighed(advantages.reinforce_pp_advantages, weigh, precision)


def test_a_deviation_of_the_batch_weighs_mixed_groups_by_their_company(
  precision,
):
  # REINFORCE++ with the group's mean as baseline: a mixed group of two has
  # credits of 1/2 and -1/2 over a deviation that counts the mixed groups, one
  # or two. A right row has a mixed group with chance 1 - p, a wrong one with p:
  # the weight does not depend on the prompt itself, but on the other one.
  credit = lambda mixed: 0.5 / math.sqrt(mixed * 0.5 / 3 + 1e-8)

  def weigh(own, other):
    del own
    both = 2 * other * (1 - other)
    return (1 - both) * credit(1) + both * credit(2)

  _assert_weighed(advantages.reinforce_pp_baseline_advantages, weigh, precision)
