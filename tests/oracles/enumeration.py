"""Every completion of a tiny policy: expectations as sums, nothing sampled.

A table policy has one row of logits for every prefix. Its probabilities are
computed as products of softmax values, apart from the log-probabilities that
the library is fed, so that the two sides of an oracle share no code.

Letters: S completions, T tokens, N prefixes, V vocabulary, O outcomes (a whole
batch each), B rows of an outcome.
"""

from collections.abc import Callable, Sequence
import itertools
from typing import Any, NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import credit
from rlvr_jax import objective as objective_lib

Fields = dict[str, jax.Array]


class Precision(NamedTuple):
  """A floating type, and how close an exact equality comes in it."""

  dtype: str
  tolerance: float

  def array(self, values) -> jax.Array:
    return jnp.asarray(values, self.dtype)


class Space(NamedTuple):
  """All completions that a policy can give.

  Types of 32 bits: compiled functions take a space in either precision.

  Attributes:
    tokens: i32[S, T], 0 beyond the end.
    mask: f32[S, T], 1 on the tokens of a completion.
    prefixes: i32[S, T], number of the prefix that each token follows.
  """

  tokens: np.ndarray
  mask: np.ndarray
  prefixes: np.ndarray

  @property
  def lengths(self) -> np.ndarray:
    return self.mask.sum(axis=1, dtype=np.float64)

  @property
  def num_prefixes(self) -> int:
    return int(self.prefixes.max()) + 1


def space(vocab_size: int, length: int, end: int | None = None) -> Space:
  """All completions of up to `length` tokens; `end` closes one early."""
  completions, numbers = [], {}

  def extend(prefix):
    if len(prefix) == length or (prefix and prefix[-1] == end):
      completions.append(prefix)
      return
    numbers[prefix] = len(numbers)
    for token in range(vocab_size):
      extend((*prefix, token))

  extend(())
  shape = (len(completions), length)
  found = Space(*(np.zeros(shape, t) for t in (np.int32, np.float32, np.int32)))
  for row, completion in enumerate(completions):
    for place, token in enumerate(completion):
      found.tokens[row, place] = token
      found.mask[row, place] = 1.0
      found.prefixes[row, place] = numbers[completion[:place]]
  return found


def random_table(seed: int, over: Space, vocab_size: int) -> np.ndarray:
  """Logits f64[N, V] of a policy that is far from uniform."""
  rng = np.random.default_rng(seed)
  return rng.normal(0.0, 0.8, (over.num_prefixes, vocab_size))


@jax.jit
def logprobs(table: jax.Array, over: Space) -> jax.Array:
  """Log-probability of every token of every completion, [S, T]."""
  normed = jax.nn.log_softmax(table, axis=1)
  return normed[over.prefixes, over.tokens] * over.mask.astype(table.dtype)


@jax.jit
def entropies(table: jax.Array, over: Space) -> jax.Array:
  """Entropy of the distribution that each token is drawn from, [S, T]."""
  normed = jax.nn.log_softmax(table, axis=1)
  per_prefix = -jnp.sum(jnp.exp(normed) * normed, axis=1)
  return per_prefix[over.prefixes] * over.mask.astype(table.dtype)


@jax.jit
def conditionals(table: jax.Array) -> jax.Array:
  """Probability of each token after each prefix, [N, V]."""
  weights = jnp.exp(table)
  return weights / jnp.sum(weights, axis=1, keepdims=True)


@jax.jit
def steps(table: jax.Array, over: Space) -> jax.Array:
  """Probability of every token given its prefix, [S, T]; 1 beyond the end."""
  after = conditionals(table)[over.prefixes, over.tokens]
  return jnp.where(over.mask > 0, after, jnp.ones_like(after))


@jax.jit
def probabilities(table: jax.Array, over: Space) -> jax.Array:
  """Probability of every completion, [S], as a product over its tokens."""
  return jnp.prod(steps(table, over), axis=1)


@jax.jit
def divergence(table: jax.Array, other: jax.Array, over: Space) -> jax.Array:
  """KL(table || other) over whole completions."""
  ours, theirs = probabilities(table, over), probabilities(other, over)
  return jnp.sum(ours * jnp.log(ours / theirs))


def gradient(value: Callable[..., jax.Array], argnums: int = 0):
  """Compiled `jax.grad`."""
  return jax.jit(jax.grad(value, argnums))


def fields(table: jax.Array, over: Space, rewards, **frozen) -> Fields:
  """Fields of all completions of one prompt, as of a first update.

  Args:
    table: logits [N, V] of the current policy.
    over: its completions.
    rewards: [S].
    **frozen: other fields, [S] or [S, T]; they replace those of a first update.
  """
  live = logprobs(table, over)
  rewards = jnp.asarray(rewards, table.dtype)
  return {
    "logprobs": live,
    "old_logprobs": lax.stop_gradient(live),
    "entropies": entropies(table, over),
    "completion_mask": jnp.asarray(over.mask, table.dtype),
    "rewards": rewards,
    "is_correct": (rewards > 0).astype(table.dtype),
    **frozen,
  }


def stacked(parts: Sequence[Fields]) -> Fields:
  """The completions of several prompts, one after the other."""
  return {
    name: jnp.concatenate([part[name] for part in parts]) for name in parts[0]
  }


class Draws(NamedTuple):
  """Everything that a sampler can draw for a batch.

  Attributes:
    rows: i32[O, B], completions of each outcome.
    weights: [O], probability of each outcome.
    group_ids: i32[B].
  """

  rows: np.ndarray
  weights: jax.Array
  group_ids: np.ndarray


def draws(chances: Sequence[jax.Array], samples: int = 1) -> Draws:
  """All ways to draw `samples` completions of each prompt independently.

  Args:
    chances: [S] of each prompt, whose completions lie behind those of the
      prompts before it.
    samples: completions of a prompt in a batch.
  """
  starts = np.cumsum([0, *(len(chance) for chance in chances)])
  choices = [
    range(starts[prompt], starts[prompt + 1])
    for prompt in range(len(chances))
    for _ in range(samples)
  ]
  rows = np.array(list(itertools.product(*choices)))
  each = jnp.concatenate(list(chances))[rows]
  return Draws(
    rows,
    lax.stop_gradient(jnp.prod(each, axis=1)),
    np.repeat(np.arange(len(chances)), samples),
  )


def expected_gradient(
  method: objective_lib.Objective,
  fields_of: Callable[[Any], Fields],
  params: Any,
  drawn: Draws,
  valid: Sequence[float] | None = None,
) -> Any:
  """Mean over all outcomes of minus the gradient of the library's loss.

  Args:
    method: the objective.
    fields_of: params -> fields of all completions.
    params: where to take the gradient.
    drawn: the outcomes, whose probabilities are constants.
    valid: [B], 0 on rows that nobody judged, whatever they hold.

  Returns:
    A pytree like params: the direction in which the method moves them.
  """
  loss, arrays = _loss(method, fields_of, drawn, valid)
  return jax.tree.map(jnp.negative, gradient(loss)(params, *arrays))


def expected_loss(method, fields_of, params, drawn: Draws) -> jax.Array:
  """Mean over all outcomes of the library's loss; see `expected_gradient`."""
  loss, arrays = _loss(method, fields_of, drawn)
  return jax.jit(loss)(params, *arrays)


def _loss(method, fields_of, drawn: Draws, valid=None):
  """A function of params and of the arrays that are returned with it."""

  def of_all(params, outcomes, weights):
    completions = fields_of(params)
    judged = jnp.ones(outcomes.shape[1], weights.dtype)
    if valid is not None:
      judged = jnp.asarray(valid, weights.dtype)

    def of_one(rows):
      batch = {name: value[rows] for name, value in completions.items()}
      batch["rewards"] = jnp.where(judged > 0, batch["rewards"], jnp.nan)
      batch["valid"] = judged
      batch["group_ids"] = jnp.asarray(drawn.group_ids, jnp.int32)
      return credit.whole_loss(method, batch)[0]

    return jnp.sum(weights * jax.vmap(of_one)(outcomes))

  return of_all, (jnp.asarray(drawn.rows), drawn.weights)


def error(found, expected, scale: float | None = None) -> float:
  """Largest difference, relative to the largest expected entry."""
  found, expected = (
    np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
    for tree in (found, expected)
  )
  assert found.shape == expected.shape
  assert np.all(np.isfinite(found)) and np.all(np.isfinite(expected))
  scale = np.max(np.abs(expected)) if scale is None else scale
  assert scale > 1e-3, "the oracle is all but zero and shows nothing"
  return float(np.max(np.abs(found - expected)) / scale)


def assert_equal(found, expected, precision: Precision, scale=None) -> None:
  """Equal up to rounding; `scale` where the expected value is 0."""
  assert error(found, expected, scale) < precision.tolerance


def cosine(first, second) -> float:
  """Of the angle between two gradients."""
  first, second = (
    np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
    for tree in (first, second)
  )
  return float(first @ second / np.sqrt((first @ first) * (second @ second)))
