"""Two views of the next token, a student's and its teacher's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from tests import testing

_bound = objective_lib.bound
close = functools.partial(np.testing.assert_allclose, atol=1e-5, rtol=0)
# Two candidates of each view; the tails hold 0.2 and 0.3.
STUDENT, TEACHER = np.log([0.5, 0.3]), np.log([0.2, 0.5])
LOSSES = {
  "sdpo": _bound(losses.sdpo),
  "sdpo without tail": _bound(losses.sdpo, tail=False),
  "sdpo forward": _bound(losses.sdpo, alpha=0.0),
  "sdpo reverse": _bound(losses.sdpo, alpha=1.0),
  "sdpo_token": _bound(losses.sdpo_token),
  "opsd": _bound(losses.opsd),
  "opsd forward": _bound(losses.opsd, beta=0.0),
  "sdft": _bound(losses.sdft),
  "sdft reverse": _bound(losses.sdft, direction="student_teacher"),
  "srpo": _bound(losses.srpo),
}


def views(student=STUDENT, teacher=TEACHER):
  """One token of one row, unless the views hold more."""
  wide = lambda x: jnp.atleast_3d(testing.floats(x)[None, None]).reshape(
    *(1,) * (3 - np.ndim(x)), *np.shape(x)
  )
  return dict(
    support_logprobs=wide(student), teacher_support_logprobs=wide(teacher)
  )


def rows(shape):
  return dict(has_teacher=jnp.ones(shape[0]), completion_mask=jnp.ones(shape))


def opsd(views, beta=0.5):
  shape = views["support_logprobs"].shape[:2]
  return losses.opsd(beta=beta, **views, **rows(shape))


def sdft(views, **settings):
  shape = views["support_logprobs"].shape[:2]
  return losses.sdft(**views, **rows(shape), **settings)


def batch():
  """Three rows: wrong, without a teacher, and right."""
  shape = (3, 2)
  keys = iter(jax.random.split(jax.random.key(7), 8))
  support = lambda: jnp.log(
    jax.random.dirichlet(next(keys), jnp.ones(4), shape)[..., :3]
  )
  draw = lambda: -jax.random.exponential(next(keys), shape)
  return {
    "logprobs": draw(),
    "old_logprobs": draw(),
    "teacher_logprobs": draw(),
    "token_advantages": testing.floats([[-0.5] * 2, [-0.5] * 2, [1.0] * 2]),
    "support_logprobs": support(),
    "teacher_support_logprobs": support(),
    "srpo_weights": testing.floats([[1.2, 0.8], [1.0, 1.0], [1.0, 1.0]]),
    "is_correct": testing.floats([0.0, 0.0, 1.0]),
    "has_teacher": testing.floats([1.0, 0.0, 1.0]),
    "completion_mask": testing.floats([[1, 1], [1, 1], [1, 0]]),
  }
