"""Token losses that pull the policy towards a teacher: itself, shown more.

sdpo: divergence from the teacher over candidate tokens and their tail.
sdpo_token: the same from the sampled token alone.
opsd: divergence from the teacher over the whole vocabulary.
sdft: one of the two KL divergences over the whole vocabulary.
srpo: wrong rows are distilled, the others keep the clipped surrogate.

Both views give log-probabilities over the full vocabulary of the same
candidates: `support_logprobs`, live, and `teacher_support_logprobs`, frozen.
Losses are 0 on padding and, but for `srpo`, on rows without a teacher,
whatever stands there; to keep those rows out of the mean, list `with_teacher`
among the filters.
"""

import math

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax import names
from rlvr_jax import settings
from rlvr_jax.losses import clipped
from rlvr_jax.losses import ratios

# Stands for the log-probability of a token that is never given: its exp is 0
# in every type, and it makes no product with 0 a NaN.
_NEVER = -1e4
_DIRECTIONS = ("teacher_student", "student_teacher")


def _taught(has_teacher, completion_mask):
  """Tokens that a teacher has seen, bool[B, T]."""
  return (completion_mask > 0) & (has_teacher > 0)[:, None]


def _finite(support_logprobs, teacher_support_logprobs, active):
  """Both views without NaN or infinity; the teacher's is frozen."""
  clean = lambda x: jnp.maximum(jnp.where(active[..., None], x, 0.0), _NEVER)
  return (
    clean(support_logprobs),
    clean(lax.stop_gradient(teacher_support_logprobs)),
  )


def _with_tail(logprobs):
  """One candidate more, for all the tokens that are none."""
  total = jax.nn.logsumexp(logprobs, axis=-1, keepdims=True)
  # 1 - exp(total), where rounding can leave nothing or less.
  tail = jnp.log(-jnp.expm1(jnp.minimum(total, -1e-7)))
  return jnp.concatenate([logprobs, tail], axis=-1)


def _renormalized(logprobs):
  return logprobs - jax.nn.logsumexp(logprobs, axis=-1, keepdims=True)


def _kl(logprobs, others):
  return jnp.sum(jnp.exp(logprobs) * (logprobs - others), axis=-1)


def _divergence(student, teacher, share):
  """KL(T || S) at 0, KL(S || T) at 1, Jensen-Shannon's kind in between."""
  if share == 0:
    return _kl(teacher, student)
  if share == 1:
    return _kl(student, teacher)
  mixture = jnp.logaddexp(
    student + math.log1p(-share), teacher + math.log(share)
  )
  return (1.0 - share) * _kl(student, mixture) + share * _kl(teacher, mixture)


def _over_candidates(views, alpha, tail):
  student, teacher = map(_with_tail if tail else _renormalized, views)
  return _divergence(student, teacher, alpha)


def _frozen_ratio(logprobs, old_logprobs, active, max_ratio):
  log_ratio = lax.stop_gradient(logprobs - old_logprobs)
  ratio = ratios.bounded_ratio(jnp.where(active, log_ratio, 0.0))
  return jnp.minimum(ratio, max_ratio)


def _check_share(name: str, share: float) -> None:
  settings.require(
    0 <= share <= 1, f"{name} is {share}: it is a share in [0, 1]"
  )


def _check_ratio(max_ratio: float) -> None:
  settings.require(max_ratio > 0, f"max_ratio is {max_ratio}: set it above 0")


def sdpo(
  *,
  support_logprobs: jax.Array,
  teacher_support_logprobs: jax.Array,
  logprobs: jax.Array,
  old_logprobs: jax.Array,
  has_teacher: jax.Array,
  completion_mask: jax.Array,
  alpha: float = 0.5,
  tail: bool = True,
  max_ratio: float = 2.0,
) -> jax.Array:
  """Divergence from the teacher over candidates, one value per token.

  alpha = 0: KL(T || S); 1: KL(S || T); in between, with
  M = (1 - alpha) * S + alpha * T, (1 - alpha) * KL(S || M) + alpha * KL(T ||
  M); times sg(min(exp(logprobs - old_logprobs), max_ratio)). The tail is one
  candidate more, log(1 - sum of the candidates' p); without it S and T are
  renormalised.

  See "Reinforcement Learning via Self-Distillation"
  (https://arxiv.org/abs/2601.20802) [code: lasgroup/SDPO:verl/trainer/ppo/
  core_algos.py]: 100 candidates, those of the student; alpha 0.5. The ends
  are no limits of what lies between, which goes to 0 at either of them.
  Neutral setting: a teacher that is the student gives 0; the whole vocabulary
  at ratio 1 gives `opsd`.
  Differs from the paper: log-probabilities below -10,000, as of a token that
  is never given, count as that, so that a divergence is large and not
  infinite. Its rows with feedback alone are rows with a teacher like others.

  Example: two candidates, which share 0.8 and 0.7 of the probability.
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> loss = losses.sdpo(
    ...     support_logprobs=jnp.log(jnp.array([[[0.5, 0.3]]])),
    ...     teacher_support_logprobs=jnp.log(jnp.array([[[0.2, 0.5]]])),
    ...     logprobs=jnp.zeros((1, 1)), old_logprobs=jnp.zeros((1, 1)),
    ...     has_teacher=jnp.ones(1), completion_mask=jnp.ones((1, 1)))
    >>> round(float(loss[0, 0]), 4)
    0.0509

  Args:
    support_logprobs: f32[B, T, K], nats, of the candidates under the current
      policy; gradients flow here.
    teacher_support_logprobs: f32[B, T, K], nats, of the same ones, frozen.
    logprobs: f32[B, T], of the sampled token, frozen here.
    old_logprobs: f32[B, T], trainer's policy at rollout time, frozen.
    has_teacher: f32[B], 0 on rows without a teacher.
    completion_mask: f32[B, T], 1 on generated tokens.
    alpha: share of the teacher in the mixture.
    tail: whether the tokens that are no candidates count as one.
    max_ratio: largest importance weight.

  Returns:
    f32[B, T] token losses in nats, not reduced; 0 on padding and on rows
    without a teacher.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    support_logprobs=support_logprobs,
    teacher_support_logprobs=teacher_support_logprobs,
    logprobs=logprobs,
    old_logprobs=old_logprobs,
    has_teacher=has_teacher,
    completion_mask=completion_mask,
  )
  _check_share("alpha", alpha)
  _check_ratio(max_ratio)
  active = _taught(has_teacher, completion_mask)
  views = _finite(support_logprobs, teacher_support_logprobs, active)
  ratio = _frozen_ratio(logprobs, old_logprobs, active, max_ratio)
  loss = _over_candidates(views, alpha, tail) * ratio
  return jnp.where(active, loss, 0.0)


def sdpo_token(
  *,
  logprobs: jax.Array,
  old_logprobs: jax.Array,
  teacher_logprobs: jax.Array,
  has_teacher: jax.Array,
  completion_mask: jax.Array,
  max_ratio: float = 2.0,
) -> jax.Array:
  """Log-ratio to the teacher times log-probability, one value per token.

  sg(logprobs - teacher_logprobs) * logprobs * sg(min(exp(logprobs -
  old_logprobs), max_ratio))

  See "Reinforcement Learning via Self-Distillation"
  (https://arxiv.org/abs/2601.20802) [code: lasgroup/SDPO:verl/trainer/ppo/
  core_algos.py], the variant without candidates. Only its gradient has a
  meaning: on the policy's own samples it is that of KL(S || T).
  Neutral setting: a teacher that is the student gives 0; at ratio 1 it has
  the gradient of `reinforce` with the advantages -d_hat.
  Differs from the paper: no.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> losses.sdpo_token(
    ...     logprobs=jnp.array([[-1.0, -1.0]]),
    ...     old_logprobs=jnp.array([[-1.0, -1.0]]),
    ...     teacher_logprobs=jnp.array([[-2.0, -0.5]]),
    ...     has_teacher=jnp.ones(1),
    ...     completion_mask=jnp.ones((1, 2))).tolist()
    [[-1.0, 0.5]]

  Args:
    logprobs: f32[B, T], current policy; gradients flow here.
    old_logprobs: f32[B, T], trainer's policy at rollout time, frozen.
    teacher_logprobs: f32[B, T], of the same tokens, frozen.
    has_teacher: f32[B], 0 on rows without a teacher.
    completion_mask: f32[B, T], 1 on generated tokens.
    max_ratio: largest importance weight.

  Returns:
    f32[B, T] token losses, not reduced; 0 on padding and on rows without a
    teacher.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    logprobs=logprobs,
    old_logprobs=old_logprobs,
    teacher_logprobs=teacher_logprobs,
    has_teacher=has_teacher,
    completion_mask=completion_mask,
  )
  _check_ratio(max_ratio)
  active = _taught(has_teacher, completion_mask)
  gap = lax.stop_gradient(logprobs - teacher_logprobs)
  weight = _frozen_ratio(logprobs, old_logprobs, active, max_ratio)
  return jnp.where(active, gap * weight, 0.0) * jnp.where(active, logprobs, 0.0)


def opsd(
  *,
  support_logprobs: jax.Array,
  teacher_support_logprobs: jax.Array,
  has_teacher: jax.Array,
  completion_mask: jax.Array,
  beta: float = 0.5,
) -> jax.Array:
  """Generalised Jensen-Shannon divergence from the teacher, per token.

  beta = 0: KL(T || S); 1: KL(S || T); in between, with
  M = (1 - beta) * S + beta * T, (1 - beta) * KL(S || M) + beta * KL(T || M)

  See "Self-Distilled Reasoner" (https://arxiv.org/abs/2601.18734) [code:
  siyan-zhao/OPSD:opsd_trainer.py]: the whole vocabulary, beta 0.5.
  Neutral setting: a teacher that is the student gives 0.
  Differs from the paper: no; its clip of single tokens and its candidates
  from the teacher are left out. The floor is that of `sdpo`.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> loss = losses.opsd(
    ...     support_logprobs=jnp.log(jnp.array([[[0.5, 0.5]]])),
    ...     teacher_support_logprobs=jnp.log(jnp.array([[[0.9, 0.1]]])),
    ...     has_teacher=jnp.ones(1), completion_mask=jnp.ones((1, 1)))
    >>> round(float(loss[0, 0]), 4)
    0.1017

  Args:
    support_logprobs: f32[B, T, K], nats, of every token of the vocabulary
      under the current policy; gradients flow here.
    teacher_support_logprobs: f32[B, T, K], nats, of the same, frozen.
    has_teacher: f32[B], 0 on rows without a teacher.
    completion_mask: f32[B, T], 1 on generated tokens.
    beta: share of the teacher in the mixture.

  Returns:
    f32[B, T] token losses in nats, not reduced; 0 on padding and on rows
    without a teacher.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    support_logprobs=support_logprobs,
    teacher_support_logprobs=teacher_support_logprobs,
    has_teacher=has_teacher,
    completion_mask=completion_mask,
  )
  _check_share("beta", beta)
  active = _taught(has_teacher, completion_mask)
  views = _finite(support_logprobs, teacher_support_logprobs, active)
  return jnp.where(active, _divergence(*views, beta), 0.0)


def sdft(
  *,
  support_logprobs: jax.Array,
  teacher_support_logprobs: jax.Array,
  has_teacher: jax.Array,
  completion_mask: jax.Array,
  direction: str = "teacher_student",
) -> jax.Array:
  """KL divergence between teacher and policy, one value per token.

  "teacher_student": KL(T || S), "student_teacher": KL(S || T)

  See "Self-Distillation Enables Continual Learning"
  (https://arxiv.org/abs/2601.19897) [paper excerpt]: the whole vocabulary.
  Its text and its released code disagree on the direction, which is why there
  is a choice; the default is [inferred].
  Neutral setting: a teacher that is the student gives 0; the two directions
  are `opsd` with beta 0 and 1.
  Differs from the paper: no. The floor is that of `sdpo`.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> loss = losses.sdft(
    ...     support_logprobs=jnp.log(jnp.array([[[0.5, 0.5]]])),
    ...     teacher_support_logprobs=jnp.log(jnp.array([[[0.9, 0.1]]])),
    ...     has_teacher=jnp.ones(1), completion_mask=jnp.ones((1, 1)))
    >>> round(float(loss[0, 0]), 4)
    0.3681

  Args:
    support_logprobs: f32[B, T, K], nats, of every token of the vocabulary
      under the current policy; gradients flow here.
    teacher_support_logprobs: f32[B, T, K], nats, of the same, frozen.
    has_teacher: f32[B], 0 on rows without a teacher.
    completion_mask: f32[B, T], 1 on generated tokens.
    direction: "teacher_student" or "student_teacher".

  Returns:
    f32[B, T] token losses in nats, not reduced; 0 on padding and on rows
    without a teacher.

  Raises:
    ValueError: for an unknown direction, or for shapes or values that cannot
      be right, by name.
  """
  checks.arguments(
    support_logprobs=support_logprobs,
    teacher_support_logprobs=teacher_support_logprobs,
    has_teacher=has_teacher,
    completion_mask=completion_mask,
  )
  settings.require(
    direction in _DIRECTIONS,
    f"direction is {direction!r}:"
    f" {names.did_you_mean(str(direction), _DIRECTIONS)}",
  )
  active = _taught(has_teacher, completion_mask)
  views = _finite(support_logprobs, teacher_support_logprobs, active)
  share = float(direction == "student_teacher")
  return jnp.where(active, _divergence(*views, share), 0.0)


def srpo(
  *,
  logprobs: jax.Array,
  old_logprobs: jax.Array,
  token_advantages: jax.Array,
  support_logprobs: jax.Array,
  teacher_support_logprobs: jax.Array,
  srpo_weights: jax.Array,
  is_correct: jax.Array,
  has_teacher: jax.Array,
  completion_mask: jax.Array,
  alpha: float = 0.5,
  tail: bool = True,
  max_ratio: float = 2.0,
  clip_low: float = 0.2,
  clip_high: float = 0.28,
  dual_clip: float = 0.0,
) -> jax.Array:
  """Distillation on wrong rows, the clipped surrogate on all others.

  srpo_weights * sdpo on wrong rows that have a teacher, else ppo_clip

  See "Unifying Group-Relative and Self-Distillation Policy Optimization via
  Sample Routing" (https://arxiv.org/abs/2604.02288) [paper excerpt]; one
  denominator for both kinds of rows [code: jungseongryong/L2T:verl/trainer/
  ppo/core_algos.py], a third party's. That a wrong row without a teacher
  keeps the surrogate is that code's choice, and ours [inferred].
  Neutral setting: right rows alone give `ppo_clip`; wrong ones with teachers
  and weights of 1 give `sdpo`.
  Differs from the paper: clip widths and dual clip are not known to be its own
  [inferred].

  Example: a right row at ratio 1, and a wrong one whose teacher is the policy.
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> same = jnp.log(jnp.full((2, 1, 2), 0.25))
    >>> losses.srpo(
    ...     logprobs=-jnp.ones((2, 1)), old_logprobs=-jnp.ones((2, 1)),
    ...     token_advantages=jnp.array([[1.0], [-1.0]]),
    ...     support_logprobs=same, teacher_support_logprobs=same,
    ...     srpo_weights=jnp.ones((2, 1)), is_correct=jnp.array([1.0, 0.0]),
    ...     has_teacher=jnp.ones(2), completion_mask=jnp.ones((2, 1))).tolist()
    [[-1.0], [0.0]]

  Args:
    logprobs: f32[B, T], current policy; gradients flow here.
    old_logprobs: f32[B, T], trainer's policy at rollout time, frozen.
    token_advantages: f32[B, T], frozen.
    support_logprobs: f32[B, T, K], nats, of the candidates under the current
      policy; gradients flow here.
    teacher_support_logprobs: f32[B, T, K], nats, of the same ones, frozen.
    srpo_weights: f32[B, T], from `derived.srpo_weights`.
    is_correct: f32[B], the verifier's bit.
    has_teacher: f32[B], 0 on rows without a teacher.
    completion_mask: f32[B, T], 1 on generated tokens.
    alpha: see `sdpo`.
    tail: see `sdpo`.
    max_ratio: see `sdpo`.
    clip_low: lower clip width, a distance from 1.
    clip_high: upper clip width, a distance from 1.
    dual_clip: see `ppo_clip`.

  Returns:
    f32[B, T] token losses, not reduced; 0 on padding.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    logprobs=logprobs,
    old_logprobs=old_logprobs,
    token_advantages=token_advantages,
    support_logprobs=support_logprobs,
    teacher_support_logprobs=teacher_support_logprobs,
    srpo_weights=srpo_weights,
    is_correct=is_correct,
    has_teacher=has_teacher,
    completion_mask=completion_mask,
  )
  _check_share("alpha", alpha)
  _check_ratio(max_ratio)
  inside = completion_mask > 0
  clean = lambda x: jnp.where(inside, x, 0.0)
  surrogate = clipped.ppo_clip(
    logprobs=clean(logprobs),
    old_logprobs=clean(old_logprobs),
    token_advantages=clean(token_advantages),
    clip_low=clip_low,
    clip_high=clip_high,
    dual_clip=dual_clip,
  )
  active = _taught(has_teacher, completion_mask) & ~(is_correct > 0)[:, None]
  views = _finite(support_logprobs, teacher_support_logprobs, active)
  ratio = _frozen_ratio(logprobs, old_logprobs, active, max_ratio)
  weight = clean(srpo_weights) * ratio
  distilled = weight * _over_candidates(views, alpha, tail)
  return jnp.where(active, distilled, clean(surrogate))
