"""Information in nats: what is exact for tables, and one estimate for models.

H(Y | s_t) of a real trace is not to be had from a language model; these
functions say what the definitions give once somebody has a distribution. Only
`information_richness` is meant for a model's log-probabilities.
"""

import jax
import numpy as np

from rlvr_jax import masked
from rlvr_jax import records
from rlvr_jax import settings

# How far probabilities may miss a sum of 1: float32 rounding of a large table.
_ROUNDING = 1e-4


def entropy(probs: np.ndarray, axis: int = -1) -> np.ndarray:
  """Entropy of distributions along an axis, f64, nats; 0 log 0 = 0.

  Example: entropy([0.25, 0.25, 0.25, 0.25]) = 1.386294.

  Raises:
    errors.UserError: if these are no distributions.
  """
  p = _distribution("probs", probs, axis)
  return np.sum(_minus_p_log_p(p), axis=axis)


def information_gain(entropies: np.ndarray) -> np.ndarray:
  """Gain of each step, Delta_t = H(Y | s_{t-1}) - H(Y | s_t), in nats.

  See SIA, per-step information gain [paper excerpt: v2]. The gains sum to the
  first entropy minus the last; one of them can be negative.

  Args:
    entropies: f64[T + 1], nats, of the answer before and after each step.

  Returns:
    f64[T].
  """
  return -np.diff(np.asarray(entropies, np.float64))


def mutual_information(joint: np.ndarray) -> float:
  """I(Y; C) of a joint table, in nats; at least 0.

  I = sum p(c, y) log(p(c, y) / (p(c) p(y))) = H(Y) - H(Y | C)

  With everything conditional on a prompt x this is SDD's information richness
  of a context, I(y; c | x) = H(y | x) - H(y | x, c) [digest x1].

  Args:
    joint: f64[C, Y], probabilities that sum to 1.

  Raises:
    errors.UserError: if they are no distribution.
  """
  p = _distribution("joint", joint, None)
  settings.require(p.ndim == 2, f"joint has shape {p.shape}: it takes [C, Y]")
  independent = np.sum(p, axis=1)[:, None] * np.sum(p, axis=0)[None]
  inside = p > 0
  ratio = np.where(inside, p, 1.0) / np.where(inside, independent, 1.0)
  # Rounding alone can put an independent table below 0.
  return max(0.0, float(np.sum(p * np.log(ratio))))


def steps_bound(
  *, first_entropy: float, threshold: float, frequency: float, gain: float
) -> float:
  """SIA's bound on the expected number of steps until H <= threshold.

  E[tau] <= (E[H_0] - eta) / (rho * delta)

  if a token of doubt comes with probability rho or more whenever H > eta, and
  each lowers H by delta or more (assumption E), whether or not an error ever
  surfaces by itself; with eta -> 0 the entropy goes to 0 [paper excerpt: v2].
  The paper's first version calls the failure "information stagnation" and the
  end "information sufficiency".

  Example: first_entropy=2, threshold=0.5, frequency=0.1, gain=0.25 give 60.

  Args:
    first_entropy: E[H_0], nats.
    threshold: eta, nats.
    frequency: rho, in (0, 1].
    gain: delta, nats per token of doubt.

  Raises:
    errors.UserError: for a number out of range.
  """
  settings.require(
    0.0 <= threshold <= first_entropy,
    f"threshold is {threshold}: it lies in 0 .. first_entropy"
    f" ({first_entropy})",
  )
  settings.require(
    0.0 < frequency <= 1.0,
    f"frequency is {frequency}: it is a probability in (0, 1]",
  )
  settings.require(gain > 0.0, f"gain is {gain}: set it above 0 nats")
  return (first_entropy - threshold) / (frequency * gain)


def information_richness(
  *, teacher_logprobs: jax.Array, logprobs: jax.Array, mask: jax.Array
) -> dict[str, records.Mean]:
  """Estimate of I(y; c | x) from samples of the teacher; sums and counts apart.

  sum_t [log p(y_t | x, c, y_<t) - log p(y_t | x, y_<t)],  y ~ p(. | x, c)

  SDD defines the quantity [digest x1]; this estimator is ours [inferred]: its
  mean over contexts and samples is E_c KL(p(. | x, c) || p(. | x)), which is
  the mutual information where p(. | x) is the mixture over contexts, and above
  it otherwise. On samples of the student it would estimate something else:
  the responses have to be drawn with the context in view.

  Args:
    teacher_logprobs: f32[B, T], nats, given the context.
    logprobs: f32[B, T], nats, of the same tokens without it.
    mask: f32[B, T], 1 on generated tokens.

  Returns:
    per_sequence: nats per response.
    per_token: nats per token.
  """
  gain = masked.masked_mean(teacher_logprobs - logprobs, mask)
  rows = masked.row_weights(mask)
  return {
    "per_sequence": records.Mean(gain.total, rows.sum()),
    "per_token": gain,
  }


def _minus_p_log_p(p: np.ndarray) -> np.ndarray:
  return -p * np.log(np.where(p > 0, p, 1.0))


def _distribution(name: str, probs: np.ndarray, axis: int | None) -> np.ndarray:
  p = np.asarray(probs, np.float64)
  settings.require(
    bool(np.all(p >= 0)),
    f"{name} holds a number that is not 0 or more: give probabilities, not"
    " their logarithms",
  )
  total = np.sum(p, axis=axis)
  settings.require(
    bool(np.all(np.abs(total - 1.0) <= _ROUNDING)),
    f"{name} sums to {np.ravel(total)[:3].tolist()}: a distribution sums to 1",
  )
  return p
