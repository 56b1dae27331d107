"""Random batches with all fields, and small methods to run on them."""

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import advantages as advantages_lib
from rlvr_jax import credit
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import records
from tests import testing

_bound = objective_lib.bound
GRPO = objective_lib.Objective(
  advantage=_bound(advantages_lib.grpo_advantages),
  token_loss=_bound(losses.ppo_clip),
)


def fields(*, moved: bool = True, **changes) -> dict[str, jax.Array]:
  """Fields of random completions of random lengths; every group is mixed.

  Ratios of the policy to its old self lie between about 0.4 and 2.5, so that
  a clip binds here and there; those of old self to sampler are at least 1.

  Args:
    moved: False puts the policy where it was at rollout time, at ratio 1.
    **changes: of `testing.rollout_batch`.
  """
  batch = testing.rollout_batch(**{"samples": 3} | changes)
  found = records.fields(batch)
  mask = found["completion_mask"]
  normal = lambda seed: jax.random.normal(jax.random.key(seed), mask.shape)
  inside = lambda x: jnp.where(mask > 0, x, 0.0)
  # Log-probabilities of three candidates of a larger vocabulary.
  support = lambda seed: jnp.log(
    jax.random.dirichlet(jax.random.key(seed), jnp.ones(4), mask.shape)[..., :3]
  )
  old = found["sampler_logprobs"] - 1.0
  step = 0.3 * jnp.clip(normal(0), -3.0, 3.0) if moved else 0.0
  return found | {
    "step": jnp.zeros((), jnp.int32),
    "old_logprobs": inside(old),
    "logprobs": inside(old + step),
    "ref_logprobs": inside(old - jnp.abs(normal(1))),
    "sampler_logprobs": inside(old - 0.1 * jnp.abs(normal(2))),
    "entropies": inside(jnp.abs(normal(3))),
    "frozen_entropies": inside(jnp.abs(normal(4))),
    "mean_logprobs": inside(old - 2.0),
    "token_uniforms": jax.random.uniform(jax.random.key(5), mask.shape),
    "teacher_logprobs": inside(jnp.minimum(old + 0.7 * normal(7), -0.01)),
    "teacher_entropies": inside(jnp.abs(normal(8))),
    # Every third row has no demonstration.
    "has_teacher": (jnp.arange(mask.shape[0]) % 3 != 2).astype(jnp.float32),
    "support_logprobs": jnp.where(mask[..., None] > 0, support(9), 0.0),
    "teacher_support_logprobs": jnp.where(
      mask[..., None] > 0, support(10), 0.0
    ),
    # One number per prompt.
    "log_partition": 0.5 + 0.25 * found["group_ids"].astype(jnp.float32),
    "prompt_normals": normal(6)[:, 0][found["group_ids"]],
  }


def credited_fields() -> dict[str, jax.Array]:
  """The same with what credit, derived functions and losses fill."""
  found = fields()
  mask, uniforms = found["completion_mask"], found["token_uniforms"]
  advantages = jnp.where(found["is_correct"] > 0, 1.0, -0.5)
  some = lambda frac: jnp.where(uniforms < frac, mask, 0.0)
  position = jnp.broadcast_to(jnp.arange(mask.shape[1]) // 2, mask.shape)
  return found | {
    # Groups differ in their mean and in their deviation.
    "rewards": found["rewards"].at[1].set(0.5),
    "advantages": advantages,
    "token_advantages": advantages[:, None] * mask,
    "token_losses": found["logprobs"],
    "loss_mask": some(0.5),
    "segment_ids": jnp.where(mask > 0, position, -1),
    "planning_tokens": some(0.3),
    "clip_cov_tokens": some(0.2),
    "kl_cov_tokens": some(0.2),
    "anchor_logprobs": found["ref_logprobs"],
    "student_logprobs": found["old_logprobs"],
    "d_hat": (found["old_logprobs"] - found["teacher_logprobs"])
    * found["has_teacher"][:, None],
    "srpo_weights": jnp.exp(-found["teacher_entropies"]),
    "teacher_mix": jnp.asarray(0.5),
    "teacher_clip": jnp.asarray(1.0),
    "inv_temp": jnp.asarray(2.0),
  }


def by_length(lengths, **fields):
  """Fields of rows of given lengths; log-probabilities of -1, -2, -3, ..."""
  inside = np.arange(max(lengths))[None] < np.asarray(lengths)[:, None]
  mask = testing.floats(inside)
  logprobs = -mask * jnp.arange(1.0, 1.0 + mask.shape[1])[None]
  rows = len(lengths)
  return {
    "completion_mask": mask,
    "valid": jnp.ones(rows),
    "group_ids": jnp.arange(rows, dtype=jnp.int32) // 2,
    "logprobs": logprobs,
    "old_logprobs": logprobs,
  } | {name: testing.floats(value) for name, value in fields.items()}


def gradient(method, fields, name="logprobs"):
  """Of a method's whole loss with respect to one of its fields."""
  value = lambda x: credit.whole_loss(method, fields | {name: x})[0]
  return jax.jit(jax.grad(value))(fields[name])


def plain_rewards(*, rewards):
  """Advantages that are the rewards themselves."""
  return rewards
