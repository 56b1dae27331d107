"""The update of a policy and a log-partition head, with replayed rows."""

import functools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import optimizers
from tests import head_updates

_KAPPA = head_updates.KAPPA
_SCALARS = head_updates.SCALARS
_method = head_updates.method
_PACED = head_updates.PACED
_head = head_updates.head
_fresh = head_updates.fresh
_replayed = head_updates.replayed
_state = head_updates.state
_train_step = head_updates.train_step
_FAITHFUL = _method()


def partition_alone(*, log_partition):
  """A loss through which only log Z can reach anything."""
  return log_partition**2


_ALONE = objective_lib.Objective(
  sequence_loss=objective_lib.bound(partition_alone), scalars=_SCALARS
)
_VARGRAD = objective_lib.Objective(
  sequence_loss=objective_lib.bound(
    losses.trajectory_balance,
    anchor_logprobs="ref_logprobs",
    log_partition="vargrad_log_z",
  ),
  derived=(
    objective_lib.bound(losses.vargrad_log_z, anchor_logprobs="ref_logprobs"),
  ),
  scalars=_SCALARS,
)


def _run(
  method, head, fresh, replayed, optimizer=None, initial=0.3, **settings
):
  """One update by plain gradient descent: moves are minus the gradients."""
  optimizer = optimizer or optax.sgd(1.0)
  step = jax.jit(_train_step(method, optimizer, head, **settings))
  state = _state(optimizer, head, initial)
  # Optax mixes integers and floats inside Adam.
  with jax.numpy_dtype_promotion("standard"):
    after, metrics = step(state, fresh, replayed)
  moved = lambda name: jax.tree.map(
    jnp.subtract, getattr(after, name), getattr(state, name)
  )
  heads = moved("log_partition") if head else None
  return moved("params"), heads, metrics


def _assert_close(found, expected, rtol=1e-4):
  """Relative to the largest entry of the whole tree."""
  scale = max(float(jnp.max(jnp.abs(x))) for x in jax.tree.leaves(expected))
  assert scale > 0
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=rtol * scale),
    found,
    expected,
  )


@functools.cache
def _paced(**settings):
  return _run(_PACED, _head(), _fresh(), _replayed(), **settings)


@pytest.mark.parametrize("num_micro_batches", [2, 8])
def test_micro_batches_do_not_change_a_step_with_replayed_rows(
  num_micro_batches,
):
  policy, head, metrics = _paced()
  parts = _paced(num_micro_batches=num_micro_batches)
  _assert_close(parts[0], policy)
  _assert_close(parts[1], head)
  assert metrics.keys() == parts[2].keys()
  for name, value in metrics.items():
    np.testing.assert_allclose(
      parts[2][name], value, rtol=1e-4, atol=1e-6, err_msg=name
    )


@pytest.mark.parametrize("name", ["paced", "vargrad"])
def test_micro_batches_do_not_change_minibatches(name):
  """Four parts of a minibatch of two prompts take their rows apart."""
  paced = name == "paced"
  run = functools.partial(
    _run,
    _PACED if paced else _VARGRAD,
    _head(kind="table") if paced else None,
    _fresh(),
    _replayed() if paced else None,
    # Small steps, or rounding grows from the first minibatch to the second.
    optimizer=optax.sgd(1e-3),
    num_minibatches=2,
  )
  whole, parts = run(), run(num_micro_batches=4)
  _assert_close(parts[0], whole[0])
  if paced:
    _assert_close(parts[1], whole[1])
  for metric, value in whole[2].items():
    np.testing.assert_allclose(
      parts[2][metric], value, rtol=1e-3, atol=1e-5, err_msg=metric
    )


def test_replayed_rows_count_as_much_as_fresh_ones():
  """The loss is a mean over all rows that count: 8 fresh, 7 replayed."""
  unjudged = lambda batch: batch.replace(valid=jnp.zeros_like(batch.valid))
  fresh, replayed = _fresh(), _replayed()
  head = _head()
  step = jax.jit(_train_step(_PACED, optax.sgd(1.0), head))
  measure = functools.partial(step, _state(optax.sgd(1.0), head))
  together, first, second = (
    measure(*batches)[1]
    for batches in (
      (fresh, replayed),
      (fresh, unjudged(replayed)),
      (unjudged(fresh), replayed),
    )
  )
  loss = "policy/loss"
  np.testing.assert_allclose(
    together[loss], (8 * first[loss] + 7 * second[loss]) / 15, rtol=1e-5
  )
  # By default they move the policy and leave the head alone.
  assert second["policy/grad_norm"] > 0
  assert second["log_partition/grad_norm"] == 0
  head = _head(learns_from_replay=True)
  metrics = _run(_PACED, head, unjudged(fresh), replayed)[2]
  assert metrics["log_partition/grad_norm"] > 0


@pytest.mark.parametrize("embedding", ["initial", "live"])
def test_log_z_reaches_the_policy_through_live_embeddings_alone(embedding):
  head = _head(embedding=embedding)
  policy, _, metrics = _run(_ALONE, head, _fresh(), _replayed())
  assert metrics["log_partition/grad_norm"] > 0
  if embedding == "initial":
    assert all(np.all(x == 0) for x in jax.tree.leaves(policy))
    assert metrics["log_partition/drift"] > 0
  else:
    assert np.abs(policy["embedding"]).max() > 1e-3
    # Prompts are read; nothing is predicted.
    assert np.all(policy["lm_head"] == 0)


@pytest.mark.parametrize(
  "kind, learns_from_replay, expected",
  [("scalar", False, 0.25), ("table", True, 1 / 3)],
)
def test_right_responses_alone_would_bias_the_head(
  kind, learns_from_replay, expected
):
  """Two right of eight, and one of the two replayed."""
  rewards = jnp.asarray([1.0, 1.0] + [0.0] * 6)
  fresh = _fresh(1, 8).replace(rewards=rewards, is_correct=rewards)
  replayed = _replayed(2).replace(
    prompts=jax.tree.map(lambda x: jnp.repeat(x, 2, axis=0), fresh.prompts),
    valid=jnp.asarray([1.0, 0.0]),
  )
  head = _head(
    optax.sgd(0.25), kind=kind, learns_from_replay=learns_from_replay
  )
  step = _train_step(_PACED, optax.sgd(0.0), head)
  run = lambda state: lax.scan(
    lambda state, _: step(state, fresh, replayed), state, length=40
  )
  state, metrics = jax.jit(run)(_state(optax.sgd(0.0), head, initial=0.5))
  found = head.accuracy(state.log_partition, fresh.prompts, jnp.asarray(_KAPPA))
  np.testing.assert_allclose(found, [expected], atol=1e-6)
  np.testing.assert_allclose(
    head.log_partition(state.log_partition, fresh.prompts, jnp.asarray(_KAPPA)),
    [_KAPPA * expected],
    rtol=1e-5,
  )
  # A step of a quarter of the gradient, 2 (f - r) over the nine rows.
  rows = 9 if learns_from_replay else 8
  first = 0.25 * 2 * rows / 9 * (0.5 - expected)
  np.testing.assert_allclose(
    metrics["log_partition/drift"][0], first, rtol=1e-5
  )
  np.testing.assert_allclose(metrics["log_partition/drift"][-1], 0.0, atol=1e-6)


def _norm(*trees):
  return float(optax.tree.norm(trees))


def test_a_joint_clip_bounds_the_joint_norm():
  policy, head, metrics = _paced()
  joint = _norm(policy, head)
  assert joint > 0.2
  found = _run(_PACED, _head(joint_clip_norm=0.2), _fresh(), _replayed())
  np.testing.assert_allclose(_norm(*found[:2]), 0.2, rtol=1e-5)
  # One factor for both, and norms are told as they were before.
  shrunk = lambda tree: jax.tree.map(lambda x: x * 0.2 / joint, tree)
  _assert_close(found[0], shrunk(policy))
  _assert_close(found[1], shrunk(head))
  for name in ("policy/grad_norm", "log_partition/grad_norm"):
    np.testing.assert_allclose(found[2][name], metrics[name], rtol=1e-5)


def test_a_huge_gradient_of_the_head_leaves_the_policys_step_alone():
  """The same log Z in two units: one head's gradient is 20 times larger."""
  clipped = optimizers.make_optimizer(
    optimizers.OptimizerConfig(learning_rate=1e-2, clip_norm=1.0)
  )
  run = lambda units, initial: _run(
    _FAITHFUL,
    _head(clipped, kind="scalar", units=units),
    _fresh(),
    None,
    clipped,
    initial=initial,
  )
  huge, plain = run("accuracy", 0.3), run("nats", 0.3 * _KAPPA)
  gradients = [found[2]["log_partition/grad_norm"] for found in (huge, plain)]
  np.testing.assert_allclose(gradients[0], _KAPPA * gradients[1], rtol=1e-5)
  assert gradients[0] > 50.0
  _assert_close(huge[0], plain[0], rtol=1e-5)
  # Each took a whole step of Adam of its own.
  for _, head, _ in (huge, plain):
    np.testing.assert_allclose(np.abs(head["scalar"]), 1e-2, rtol=1e-4)
