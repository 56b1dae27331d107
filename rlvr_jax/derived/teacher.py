"""What a teacher makes of the sampled tokens.

d_hat: how much likelier a token is under the student than under the teacher.
srpo_weights: more weight where the teacher is sure of itself.

Both are 0 on rows without a teacher, whatever the teacher's fields hold there.
"""

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax import masked
from rlvr_jax import settings


def d_hat(
  *,
  student_logprobs: jax.Array,
  teacher_logprobs: jax.Array,
  has_teacher: jax.Array,
  completion_mask: jax.Array,
) -> jax.Array:
  """Log-ratio of student to teacher on each sampled token.

  d_hat = student_logprobs - teacher_logprobs

  Positive on tokens of the student's own, negative on those that the teacher
  predicts; its mean over the student's samples is KL(student || teacher).

  See "Rebellious Student: Reversing Teacher Signals for Reasoning Exploration
  with Self-Distilled RLVR", Kim et al. (https://arxiv.org/abs/2605.10781)
  [paper excerpt: digest x3]. RLSD (https://arxiv.org/abs/2604.03128) has the
  other sign.
  Neutral setting: a teacher that is the student gives 0.
  Differs from the paper: the paper defines both views with the current weights
  [paper excerpt: digest x1]; student_logprobs="old_logprobs", one value a
  rollout batch, is [inferred].

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import derived
    >>> derived.d_hat(
    ...     student_logprobs=jnp.array([[-1.0, -3.0], [-1.0, -1.0]]),
    ...     teacher_logprobs=jnp.array([[-2.0, -2.0], [-9.0, -9.0]]),
    ...     has_teacher=jnp.array([1.0, 0.0]),
    ...     completion_mask=jnp.ones((2, 2))).tolist()
    [[1.0, -1.0], [0.0, 0.0]]

  Args:
    student_logprobs: f32[B, T], nats, frozen here; name the field that it
      takes.
    teacher_logprobs: f32[B, T], nats, of the same tokens.
    has_teacher: f32[B], 0 on rows without a teacher.
    completion_mask: f32[B, T], 1 on generated tokens.

  Returns:
    f32[B, T], nats; exactly 0 on padding and on rows without a teacher.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    student_logprobs=student_logprobs,
    teacher_logprobs=teacher_logprobs,
    has_teacher=has_teacher,
    completion_mask=completion_mask,
  )
  active = (completion_mask > 0) & (has_teacher > 0)[:, None]
  gap = lax.stop_gradient(student_logprobs - teacher_logprobs)
  return jnp.where(active, gap, 0.0)


def srpo_weights(
  *,
  teacher_entropies: jax.Array,
  is_correct: jax.Array,
  has_teacher: jax.Array,
  completion_mask: jax.Array,
  temperature: float = 1.0,
) -> jax.Array:
  """Weights that fall with the teacher's entropy, of mean 1.

  exp(-H / temperature) over its mean, on wrong rows that have a teacher

  See "Unifying Group-Relative and Self-Distillation Policy Optimization via
  Sample Routing" (https://arxiv.org/abs/2604.02288) [paper excerpt]; the
  formula [code: jungseongryong/L2T:verl/trainer/ppo/core_algos.py], a third
  party's.
  Neutral setting: equal entropies, or an infinite temperature, give 1.
  Differs from the paper: the mean runs over the whole rollout batch, where
  that code takes each micro-batch, and the entropy is that of the whole
  vocabulary, not that of the candidates and their tail [inferred].

  Example: entropies of 0 and ln 2.
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from rlvr_jax import derived
    >>> weights = derived.srpo_weights(
    ...     teacher_entropies=jnp.log(jnp.array([[1.0, 2.0]])),
    ...     is_correct=jnp.zeros(1), has_teacher=jnp.ones(1),
    ...     completion_mask=jnp.ones((1, 2)))
    >>> np.asarray(weights, float).round(4).tolist()
    [[1.3333, 0.6667]]

  Args:
    teacher_entropies: f32[B, T], nats, frozen here.
    is_correct: f32[B], the verifier's bit.
    has_teacher: f32[B], 0 on rows without a teacher.
    completion_mask: f32[B, T], tokens that the mean counts.
    temperature: tau, nats of entropy that divide a weight by e.

  Returns:
    f32[B, T]; 0 on padding, on right rows and on rows without a teacher.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    teacher_entropies=teacher_entropies,
    is_correct=is_correct,
    has_teacher=has_teacher,
    completion_mask=completion_mask,
  )
  settings.require(
    temperature > 0, f"temperature is {temperature}: set it above 0"
  )
  wrong = (has_teacher > 0) & ~(is_correct > 0)
  active = (completion_mask > 0) & wrong[:, None]
  entropies = lax.stop_gradient(teacher_entropies)
  # A common factor cancels in the mean: the surest token gets exp(0).
  low = jnp.min(jnp.where(active, entropies, jnp.inf), initial=jnp.inf)
  above = jnp.where(active, entropies - low, 0.0)
  weights = jnp.where(active, jnp.exp(-above / temperature), 0.0)
  mean = masked.masked_mean(
    weights, jnp.where(active, completion_mask, 0.0)
  ).value()
  return weights / jnp.where(mean > 0, mean, 1.0)
