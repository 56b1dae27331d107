"""A model that attends by a backend's kernel says what the others say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import ops
from rlvr_jax.rollouts import scoring
from tests import testing

_SLIDING = dict(sliding_layers=(1,), sliding_window=3)


def _scores_and_gradient(model, params):
  prompts = testing.prompt_batch(3, 6)
  completions = jax.random.randint(jax.random.key(2), (6, 7), 2, 11)

  @jax.jit
  @jax.value_and_grad
  def total(params):
    scores = scoring.score_completions(model, params, prompts, completions)
    weights = jnp.sin(jnp.arange(scores.logprobs.size, dtype=jnp.float32))
    return jnp.sum(weights * (scores.logprobs + scores.entropies).ravel())

  return total(params)


def _stand_in(monkeypatch) -> list[int]:
  """Takes the definition for a kernel; the windows it is called with."""
  calls, attend = [], ops.causal_attention

  def counted(*args, **settings):
    calls.append(settings["window"])
    return attend(*args, **settings, implementation="reference")

  monkeypatch.setattr(ops, "suitable_attention", lambda *_: "reference")
  monkeypatch.setattr(ops, "causal_attention", counted)
  return calls


@pytest.mark.parametrize(
  "kind",
  [
    pytest.param({}, marks=pytest.mark.slow),
    pytest.param(dict(scan_layers=True, remat="full"), marks=pytest.mark.slow),
    _SLIDING,
    pytest.param(
      dict(scan_layers=True, remat="dots", **_SLIDING), marks=pytest.mark.slow
    ),
  ],
  ids=["plain", "scanned", "sliding", "scanned_sliding"],
)
def test_scores_and_gradients_are_the_same(monkeypatch, kind):
  """The definition stands in for a kernel, which a CPU has not."""
  model, params = testing.tiny_model(**kind)
  expected = _scores_and_gradient(model, params)
  calls = _stand_in(monkeypatch)
  found = _scores_and_gradient(model, params)
  assert set(calls) == ({0, 3} if "sliding_window" in kind else {0})
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    found,
    expected,
  )


def test_a_model_may_do_without_kernels(monkeypatch):
  calls = _stand_in(monkeypatch)
  _scores_and_gradient(*testing.tiny_model(attention="xla"))
  assert not calls
