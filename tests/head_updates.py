"""Updates of a small policy beside a log-partition head, ready to run."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import optimizers
from rlvr_jax import partition_head
from rlvr_jax import schedules
from rlvr_jax import update
from tests import testing
from tests.laws import bigram

_VOCAB, WIDTH = 11, 4
KAPPA = 20.0
SCALARS = {"inv_temp": schedules.Schedule(KAPPA)}


def method(**settings):
  loss = objective_lib.bound(
    losses.trajectory_balance, anchor_logprobs="old_logprobs", **settings
  )
  return objective_lib.Objective(sequence_loss=loss, scalars=SCALARS)


PACED = method(units="accuracy")


@functools.cache
def model():
  return bigram.bigram_model(_VOCAB)


def head(optimizer=None, joint_clip_norm=0.0, **config):
  config = partition_head.LogPartitionConfig(
    optimizer=optimizers.OptimizerConfig(learning_rate=1e-2), **config
  )
  optimizer = optimizer or optax.sgd(1.0)
  return partition_head.Head(config, optimizer, joint_clip_norm)


def fresh(num_prompts=4, samples=2, seed=0):
  """Rollouts of prompts with embeddings."""
  batch = testing.rollout_batch(num_prompts, samples, seed=seed)
  embeddings = jax.random.normal(jax.random.key(seed), (num_prompts, WIDTH))
  return batch.replace(prompts=batch.prompts.replace(embeddings=embeddings))


def replayed(num_rows=8):
  """Right responses, each with a prompt of its own; one only fills up."""
  batch = fresh(num_rows, 1, seed=7)
  valid = jnp.ones(num_rows).at[num_rows // 2].set(0.0)
  absent = (
    "finished",
    "decode_steps",
    "sampler_logprobs",
    "log_kept_mass",
    "frozen_entropies",
    "frozen_mean_logprobs",
    "outcomes",
  )
  return batch.replace(
    valid=valid, rewards=valid, is_correct=valid, **dict.fromkeys(absent)
  )


def _noisy(params, seed=0):
  leaves, structure = jax.tree.flatten(params)
  rng = np.random.default_rng(seed)
  moved = [
    x + 0.1 * jnp.asarray(rng.normal(size=x.shape), x.dtype) for x in leaves
  ]
  return jax.tree.unflatten(structure, moved)


def state(optimizer, head=None, initial=0.3):
  """A policy off its reference, and a head that tells prompts apart."""
  params = model()[1]
  state = testing.train_state(_noisy(params), optimizer)
  state = state.replace(ref_params=params)
  if not head:
    return state
  values = head.init(jax.random.key(1), 100, WIDTH, jnp.asarray(initial))
  if head.config.kind == "mlp":
    values = _noisy(values)
  return state.replace(
    log_partition=values, log_partition_opt_state=head.optimizer.init(values)
  )


def train_step(method, optimizer, head, **settings):
  config = {
    name: settings.pop(name)
    for name in ("num_minibatches", "num_micro_batches")
    if name in settings
  }
  return functools.partial(
    update.train_step,
    model=model()[0],
    method=method,
    optimizer=optimizer,
    config=update.UpdateConfig(**config),
    head=head,
    **settings,
  )
