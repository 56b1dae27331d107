"""Space A: four answers of one token, worked out by hand.

Anchor (.4, .3, .2, .1), rewards 1, 0, 1, 0 and kappa = ln 3, so that Z = 2.2.
"""

import math

from jax import lax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import losses

ANCHOR = np.array([0.4, 0.3, 0.2, 0.1])
REWARDS = jnp.array([1.0, 0.0, 1.0, 0.0])
LN3 = jnp.log(3.0)
Z_TRUE = math.log(2.2)
TARGET = np.array([1.2, 0.3, 0.6, 0.1]) / 2.2
# Ten rows that hold every answer of Space A as often as its anchor does.
TEN = np.repeat(np.arange(4), [4, 3, 2, 1])


def logs(chances, length: int = 1):
  """Log-probabilities of answers with their chance spread over tokens."""
  logs = jnp.log(jnp.asarray(chances, jnp.float32))
  return jnp.tile(logs[:, None] / length, (1, length))


def residuals(policy, z, anchor=ANCHOR, length=1, **changes):
  settings = dict(
    logprobs=logs(policy, length),
    anchor_logprobs=logs(anchor, length),
    log_partition=jnp.full(4, z, jnp.float32),
    rewards=REWARDS,
    completion_mask=jnp.ones((4, length)),
    inv_temp=LN3,
  )
  return losses.tb_residual(**settings | changes)


def balance(logprobs, z, rewards, inv_temp, **changes):
  """Loss of rows whose old policy and anchor are the policy itself."""
  logprobs = jnp.asarray(logprobs, jnp.float32)
  frozen = lax.stop_gradient(logprobs)
  settings = dict(
    logprobs=logprobs,
    old_logprobs=frozen,
    anchor_logprobs=frozen,
    log_partition=jnp.broadcast_to(jnp.asarray(z, jnp.float32), len(logprobs)),
    rewards=jnp.asarray(rewards, jnp.float32),
    completion_mask=jnp.ones(logprobs.shape),
    inv_temp=jnp.asarray(inv_temp, jnp.float32),
  )
  return losses.trajectory_balance(**settings | changes)


def vargrad(policy, anchor=ANCHOR, rows=TEN, **changes):
  settings = dict(
    logprobs=logs(policy)[rows],
    anchor_logprobs=logs(anchor)[rows],
    rewards=REWARDS[rows],
    group_ids=jnp.zeros(len(rows), jnp.int32),
    valid=jnp.ones(len(rows)),
    completion_mask=jnp.ones((len(rows), 1)),
    inv_temp=LN3,
  )
  return losses.vargrad_log_z(**settings | changes)
