"""Credit per token from a teacher: the policy that was shown more.

reversed_teacher: on right responses, more weight on what the teacher would
  not have said (RLRT).
rlsd: on all responses, more credit for what the teacher would have said.
antisd: a bonus on what the teacher would not have said, whatever the reward.
CLIP_WIDTHS: how far RLRT lets a weight move, by kind of model.

`teacher_mix` (lambda) and `teacher_clip` (epsilon_w) are numbers of the
method: set them under config.scalars, where a number may follow a schedule.
`d_hat` comes from `rlvr_jax.derived`.
"""

import math

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax import masked
from rlvr_jax import names
from rlvr_jax import settings
from rlvr_jax.token_weights.shape import TokenShape

# RLRT's epsilon_w, tighter as the model matures [paper excerpt: digest x1]; a
# script's name has the first as well [digest:scripts].
CLIP_WIDTHS = {"base": 1.0, "instruct": 0.5, "thinking": 0.2}
# Nats: as SDPG and L2T bound the exponent, so that no ratio overflows.
_MAX_EXPONENT = 20.0
_GATES = ("correct", "all")
_MODES = ("ratio", "sign", "keep")
_NORMALIZE = ("none", "row_mean")


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
  settings.require(
    value in choices,
    f"{name} is {value!r}: {names.did_you_mean(str(value), choices)}",
  )


def _multiplier(weight, teacher_mix, teacher_clip):
  """(1 - mix) + mix * clip(weight, 1 - clip, 1 + clip), the floor at 0.

  So written it is exactly 1 for a weight of 1, at mix 0 and at clip 0.
  """
  floor = jnp.maximum(1.0 - teacher_clip, 0.0)
  bounded = jnp.clip(weight, floor, 1.0 + teacher_clip)
  return 1.0 + teacher_mix * (bounded - 1.0)


def _signed(token_advantages, log_ratio, active):
  """sign(A) * log_ratio, 0 on tokens that no teacher weighs."""
  signed = jnp.sign(token_advantages) * lax.stop_gradient(log_ratio)
  return jnp.where(active, signed, 0.0)


def _ratio(signed):
  return jnp.exp(jnp.clip(signed, -_MAX_EXPONENT, _MAX_EXPONENT))


def reversed_teacher(
  *,
  token_advantages: jax.Array,
  d_hat: jax.Array,
  is_correct: jax.Array,
  has_teacher: jax.Array,
  completion_mask: jax.Array,
  teacher_mix: jax.Array,
  teacher_clip: jax.Array,
  gate: str = "correct",
  mode: str = "ratio",
  threshold: float = 0.0,
  normalize: str = "none",
) -> TokenShape:
  """Weights that grow where the student went its own way.

  (1 - mix) + mix * clip(exp(sign(A) * d_hat), max(1 - clip, 0), 1 + clip) on
  right rows that have a teacher, 1 on all others and where A = 0

  See "Rebellious Student: Reversing Teacher Signals for Reasoning Exploration
  with Self-Distilled RLVR", Kim et al. (https://arxiv.org/abs/2605.10781)
  [paper excerpt: digest x5], the mix and the gate [paper excerpt: digest x2].
  The paper's body was not in reach. mix 0.5 [paper excerpt: digest x1]; clip:
  see CLIP_WIDTHS; the floor at 0 [code: jungseongryong/L2T:verl/trainer/ppo/
  core_algos.py], a third party's. gate="all" is RLRT-all, an ablation that is
  reported to collapse [paper excerpt: digest x3].
  Neutral setting: mix 0, clip 0, or a teacher that is the student.
  Differs from the paper: the exponent is held within 20 nats. mode="sign" and
  "keep", threshold and normalize are nobody's but ours [inferred]. It
  multiplies, so a group of equal rewards still gets exactly 0.

  Example: a right row, a token of its own and one that the teacher predicts.
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from rlvr_jax import token_weights
    >>> shape = token_weights.reversed_teacher(
    ...     token_advantages=jnp.array([[2.0, 2.0], [-1.0, -1.0]]),
    ...     d_hat=jnp.array([[1.0, -1.0], [1.0, -1.0]]),
    ...     is_correct=jnp.array([1.0, 0.0]), has_teacher=jnp.ones(2),
    ...     completion_mask=jnp.ones((2, 2)),
    ...     teacher_mix=jnp.array(0.5), teacher_clip=jnp.array(1.0))
    >>> np.asarray(shape.weight, float).round(4).tolist()
    [[1.5, 0.6839], [1.0, 1.0]]

  Args:
    token_advantages: f32[B, T], frozen.
    d_hat: f32[B, T], nats, student less teacher, from `derived.d_hat`.
    is_correct: f32[B], the verifier's bit.
    has_teacher: f32[B], 0 on rows without a teacher.
    completion_mask: f32[B, T], 1 on generated tokens.
    teacher_mix: f32[], lambda, share of the weight that the teacher decides.
    teacher_clip: f32[], epsilon_w, how far its ratio may move from 1.
    gate: "correct" for right rows alone, "all" for wrong ones as well.
    mode: "ratio"; "sign" for 1 + mix * clip * sign(sign(A) * d_hat), where
      every ratio is at its clip; "keep" for a mask of the tokens with
      sign(A) * d_hat > threshold, which no mix and no clip touches.
    threshold: nats; with "sign" tokens of |d_hat| up to it keep weight 1.
    normalize: "none", or "row_mean" to divide by the row's mean weight: on
      the student's own samples exp(d_hat) averages to 1 or more, so that RLRT
      takes longer steps on right rows than GRPO.

  Returns:
    TokenShape with weights; with mode "keep" one with a mask.

  Raises:
    ValueError: for an unknown gate, mode or normalize, or for shapes or values
      that cannot be right, by name.
  """
  checks.arguments(
    token_advantages=token_advantages,
    d_hat=d_hat,
    is_correct=is_correct,
    has_teacher=has_teacher,
    completion_mask=completion_mask,
    teacher_mix=teacher_mix,
    teacher_clip=teacher_clip,
  )
  _choice("gate", gate, _GATES)
  _choice("mode", mode, _MODES)
  _choice("normalize", normalize, _NORMALIZE)
  rows = has_teacher > 0
  if gate == "correct":
    rows &= is_correct > 0
  inside = completion_mask > 0
  active = inside & rows[:, None] & (token_advantages != 0)
  signed = _signed(token_advantages, d_hat, active)
  if mode == "keep":
    kept = ~active | (signed > threshold)
    return TokenShape(mask=kept.astype(d_hat.dtype))
  if mode == "sign":
    far = jnp.abs(signed) > threshold
    weight = 1.0 + jnp.where(far, jnp.sign(signed), 0.0) * teacher_clip
  else:
    weight = _ratio(signed)
  weight = _multiplier(weight, teacher_mix, teacher_clip)
  if normalize == "row_mean":
    total = masked.masked_sum(weight, completion_mask, axis=1)
    count = jnp.sum(completion_mask, axis=1)
    # Weights of 0 throughout, or a row without tokens, have no mean.
    usable = (total > 0) & (count > 0)
    mean = jnp.where(usable, total, 1.0) / jnp.where(usable, count, 1.0)
    weight = jnp.where(inside, weight / mean[:, None], 1.0)
  return TokenShape(weight=weight)


def rlsd(
  *,
  token_advantages: jax.Array,
  d_hat: jax.Array,
  has_teacher: jax.Array,
  teacher_mix: jax.Array,
  teacher_clip: jax.Array,
) -> TokenShape:
  """Weights that grow where the teacher agrees with the verdict.

  (1 - mix) + mix * clip(exp(-sign(A) * d_hat), max(1 - clip, 0), 1 + clip) on
  rows that have a teacher, 1 on all others and where A = 0

  See "Self-Distilled RLVR" (https://arxiv.org/abs/2604.03128) [code:
  lauyikfung/SDPG:verl/trainer/ppo/core_algos.py]: clip 0.2, mix from 0.5
  linearly to 0 over 50 steps. The floor at 0 [code: jungseongryong/L2T:verl/
  trainer/ppo/core_algos.py], a third party's.
  Neutral setting: mix 0, clip 0, or a teacher that is the student.
  Differs from the paper: no; the exponent is held within 20 nats as in that
  code. It multiplies, so a group of equal rewards still gets exactly 0.

  Example: a token of the student's own and one that the teacher predicts.
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from rlvr_jax import token_weights
    >>> shape = token_weights.rlsd(
    ...     token_advantages=jnp.array([[2.0, 2.0]]),
    ...     d_hat=jnp.array([[1.0, -1.0]]), has_teacher=jnp.ones(1),
    ...     teacher_mix=jnp.array(0.5), teacher_clip=jnp.array(0.2))
    >>> np.asarray(shape.weight, float).round(4).tolist()
    [[0.9, 1.1]]

  Args:
    token_advantages: f32[B, T], frozen.
    d_hat: f32[B, T], nats, student less teacher, from `derived.d_hat`: the
      paper's Delta with the other sign.
    has_teacher: f32[B], 0 on rows without a teacher.
    teacher_mix: f32[], lambda, share of the weight that the teacher decides.
    teacher_clip: f32[], epsilon_w, how far its ratio may move from 1.

  Returns:
    TokenShape with weights.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    token_advantages=token_advantages,
    d_hat=d_hat,
    has_teacher=has_teacher,
    teacher_mix=teacher_mix,
    teacher_clip=teacher_clip,
  )
  active = (has_teacher > 0)[:, None] & (token_advantages != 0)
  ratio = _ratio(_signed(token_advantages, -d_hat, active))
  return TokenShape(weight=_multiplier(ratio, teacher_mix, teacher_clip))


def antisd(
  *,
  d_hat: jax.Array,
  teacher_entropies: jax.Array,
  has_teacher: jax.Array,
  completion_mask: jax.Array,
  teacher_mix: jax.Array,
  warm_entropy: float = 0.0,
  off_frac: float = 0.93,
) -> TokenShape:
  """A bonus on what the teacher would not have said.

  -mix * g * (softplus(-d_hat) - ln 2) / 2 on rows that have a teacher;
  g = clip((H - off) / (warm_entropy - off), 0, 1), off = off_frac *
  warm_entropy, H the mean teacher entropy over the tokens of those rows

  It is at most mix * ln(2) / 2, and without bound below, where the teacher is
  far surer than the student.

  See "Anti-Self-Distillation for Reasoning RL via Pointwise Mutual
  Information", Shen et al. (https://arxiv.org/abs/2605.11609), eq. 6 and 7
  [paper excerpt].
  Neutral setting: mix 0, or a teacher that is the student.
  Differs from the paper: there the gate is a switch with a memory, closed
  below off and open again from warm_entropy on; a function of one batch has
  none, so it is linear in between [inferred]. H is a mean where the paper has
  a median [inferred], and warm_entropy a number to give where the paper
  measures it over its first five steps. It adds: a group of equal rewards
  gets credit.

  Example: log-ratios of teacher to student of 1, 0 and -1.
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from rlvr_jax import token_weights
    >>> shape = token_weights.antisd(
    ...     d_hat=jnp.array([[-1.0, 0.0, 1.0]]),
    ...     teacher_entropies=jnp.ones((1, 3)), has_teacher=jnp.ones(1),
    ...     completion_mask=jnp.ones((1, 3)), teacher_mix=jnp.array(1.0))
    >>> (np.asarray(shape.bonus, float).round(4) + 0.0).tolist()
    [[-0.3101, 0.0, 0.1899]]

  Args:
    d_hat: f32[B, T], nats, student less teacher, from `derived.d_hat`: the
      paper's u with the other sign.
    teacher_entropies: f32[B, T], nats, frozen.
    has_teacher: f32[B], 0 on rows without a teacher.
    completion_mask: f32[B, T], tokens that the mean entropy counts.
    teacher_mix: f32[], lambda, weight of the bonus.
    warm_entropy: nats, from which on the bonus counts in full; 0 never gates.
    off_frac: share of warm_entropy at and below which there is none.

  Returns:
    TokenShape with bonuses.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    d_hat=d_hat,
    teacher_entropies=teacher_entropies,
    has_teacher=has_teacher,
    completion_mask=completion_mask,
    teacher_mix=teacher_mix,
  )
  settings.require(
    warm_entropy >= 0 and 0 <= off_frac < 1,
    f"warm_entropy is {warm_entropy}, off_frac {off_frac}: give entropies of 0"
    " nats or more and a share in [0, 1)",
  )
  active = (completion_mask > 0) & (has_teacher > 0)[:, None]
  log_ratio = jnp.where(active, -lax.stop_gradient(d_hat), 0.0)
  bonus = -0.5 * (jax.nn.softplus(log_ratio) - math.log(2.0))
  if warm_entropy:
    weights = jnp.where(active, completion_mask, 0.0)
    entropy = masked.masked_mean(
      lax.stop_gradient(teacher_entropies), weights
    ).value()
    off = off_frac * warm_entropy
    bonus *= jnp.clip((entropy - off) / (warm_entropy - off), 0.0, 1.0)
  return TokenShape(bonus=jnp.where(active, teacher_mix * bonus, 0.0))
