"""Sampling from several threads: the rollouts are those of one program."""

import functools
import threading

import jax
import numpy as np
import pytest

from rlvr_jax import keys
from rlvr_jax.rollouts import sampler
from rlvr_jax.rollouts import threads
from tests import testing

_KEY = keys.stream_key(5, "sample", 2)
_CONFIG = sampler.SamplerConfig(num_generations=3, completion_tokens=6)


@pytest.fixture(scope="module")
def model_and_params():
  return testing.tiny_model()


def _sample(model):
  return jax.jit(
    functools.partial(
      sampler.generate,
      model,
      config=_CONFIG,
      stop_ids=(testing.EOS,),
      pad_id=testing.PAD,
    )
  )


def _on_cores(sample, number):
  # Of a sampler, what comes before the prompts is the same in each thread.
  spread = threads.on_cores(
    lambda params, key, prompts: sample(params, prompts, key), number
  )
  return lambda params, prompts: spread(params, _KEY, prompts)


@pytest.mark.parametrize("number", [2, 4, 6])
def test_the_rollouts_are_those_of_one_program(model_and_params, number):
  model, params = model_and_params
  prompts, sample = testing.prompt_batch(8, 5), _sample(model)
  whole = sample(params, prompts, _KEY)
  spread = _on_cores(sample, number)(params, prompts)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, atol=1e-5),
    spread.replace(decode_steps=None),
    whole.replace(decode_steps=None),
  )


def test_a_share_that_is_done_waits_for_the_last(model_and_params):
  model, params = model_and_params
  prompts, sample = testing.prompt_batch(8, 5), _sample(model)
  take = lambda places: jax.tree.map(lambda x: x[places], prompts)
  steps = [
    sample(params, take(places), _KEY).decode_steps.max()
    for places in (slice(4), slice(4, 8))
  ]
  spread = _on_cores(sample, 2)(params, prompts)
  np.testing.assert_array_equal(spread.decode_steps, max(steps))


def test_each_share_has_a_thread(model_and_params):
  _, params = model_and_params
  both, found = threading.Barrier(2, timeout=60), []

  def sample(params, key, prompts):
    del key
    # Passed only if two are in here at once.
    both.wait()
    found.append(threading.get_ident())
    return _sample(model_and_params[0])(params, prompts, _KEY)

  threads.on_cores(sample, 2)(params, _KEY, testing.prompt_batch(4, 5))
  assert len(set(found)) == 2


def test_prompts_that_cannot_be_shared_out_are_sampled_together(
  model_and_params,
):
  model, params = model_and_params
  prompts, sample = testing.prompt_batch(3, 5), _sample(model)
  np.testing.assert_array_equal(
    _on_cores(sample, 2)(params, prompts).completion_tokens,
    sample(params, prompts, _KEY).completion_tokens,
  )


def test_it_may_be_part_of_a_program(model_and_params):
  model, params = model_and_params
  prompts = testing.prompt_batch(4, 5)
  spread = _on_cores(_sample(model), 2)
  np.testing.assert_array_equal(
    jax.jit(spread)(params, prompts).completion_tokens,
    spread(params, prompts).completion_tokens,
  )


def test_what_a_thread_raises_is_raised(model_and_params):
  _, params = model_and_params

  def sample(*_):
    raise FloatingPointError("no more")

  with pytest.raises(FloatingPointError, match="no more"):
    threads.on_cores(sample, 2)(params, _KEY, testing.prompt_batch(4, 5))
