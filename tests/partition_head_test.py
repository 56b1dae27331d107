"""The log-partition in a run: units, kinds, and what it reads of prompts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlvr_jax import errors
from rlvr_jax import optimizers
from rlvr_jax import partition_head
from rlvr_jax.rollouts import prefix
from tests import testing

_WIDTH = 16
_KAPPA = jnp.asarray(20.0)


def _config(**changes):
  return partition_head.LogPartitionConfig(
    optimizer=optimizers.OptimizerConfig(learning_rate=1e-3), **changes
  )


def _head(**changes):
  return partition_head.Head(_config(**changes), optax.sgd(0.1))


def _prompts(num_prompts=6, width=_WIDTH):
  values = jax.random.normal(jax.random.key(3), (num_prompts, width))
  return testing.prompt_batch(num_prompts, 5).replace(
    prompt_ids=jnp.arange(num_prompts)[::-1], embeddings=values
  )


def _fresh(head, initial=0.3):
  return head.init(jax.random.key(0), 6, _WIDTH, jnp.asarray(initial))


def _trained(head):
  """Parameters as an optimizer may leave them, no two prompts alike."""
  leaves, structure = jax.tree.flatten(_fresh(head))
  rng = np.random.default_rng(0)
  return jax.tree.unflatten(
    structure,
    [x + jnp.asarray(rng.normal(size=x.shape), x.dtype) for x in leaves],
  )


@pytest.mark.parametrize("kind", ["mlp", "table", "scalar"])
def test_a_fresh_head_says_its_initial_value_of_every_prompt(kind):
  prompts = _prompts()
  for units, log_partition in (("accuracy", 6.0), ("nats", 0.3)):
    head = _head(kind=kind, units=units)
    found = head.log_partition(_fresh(head), prompts, _KAPPA)
    assert found.shape == (6,) and found.dtype == jnp.float32
    np.testing.assert_allclose(found, log_partition, rtol=1e-6)
    np.testing.assert_allclose(
      head.accuracy(_fresh(head), prompts, _KAPPA),
      log_partition / 20,
      rtol=1e-6,
    )


@pytest.mark.parametrize("kind", ["mlp", "table"])
def test_units_scale_the_same_output(kind):
  prompts, params = _prompts(), _trained(_head(kind=kind))
  in_accuracy, in_nats = (
    _head(kind=kind, units=units) for units in ("accuracy", "nats")
  )
  output = in_nats.log_partition(params, prompts, _KAPPA)
  assert len(set(output.tolist())) == 6
  np.testing.assert_array_equal(
    in_accuracy.log_partition(params, prompts, _KAPPA), 20.0 * output
  )
  # Nothing keeps it in [0, 1].
  found = in_accuracy.accuracy(params, prompts, _KAPPA)
  np.testing.assert_allclose(found, output, rtol=1e-6)
  assert np.any((found < 0) | (found > 1))


def test_a_table_goes_by_prompt_ids():
  params = {"table": jnp.arange(6.0)}
  found = _head(kind="table").accuracy(params, _prompts(), _KAPPA)
  np.testing.assert_allclose(found, np.arange(6.0)[::-1])


def test_it_computes_in_float32():
  prompts = _prompts()
  low = prompts.replace(embeddings=prompts.embeddings.astype(jnp.bfloat16))
  head = _head()
  found = head.log_partition(_trained(head), low, _KAPPA)
  assert found.dtype == jnp.float32


def test_scoring_twice_is_the_same_and_rows_do_not_see_each_other():
  head, prompts = _head(), _prompts()
  score = jax.jit(head.log_partition)
  params = _trained(head)
  once = np.asarray(score(params, prompts, _KAPPA))
  np.testing.assert_array_equal(once, score(params, prompts, _KAPPA))
  order = jnp.asarray([3, 0, 5, 1, 4, 2])
  permuted = jax.tree.map(lambda x: x[order], prompts)
  np.testing.assert_allclose(
    score(params, permuted, _KAPPA), once[order], rtol=1e-6, atol=1e-6
  )


def test_live_embeddings_take_the_place_of_the_initial_ones():
  head, prompts = _head(embedding="live"), _prompts()
  params = _trained(head)
  live = jax.random.normal(jax.random.key(4), (6, _WIDTH))
  found = head.log_partition(params, prompts, _KAPPA, live)
  other = _head().log_partition(
    params, prompts.replace(embeddings=live), _KAPPA
  )
  np.testing.assert_array_equal(found, other)
  assert not head.reads_prompts
  assert _head().reads_prompts
  assert not _head(kind="table").reads_prompts


@pytest.mark.parametrize("embedding", ["initial", "live"])
def test_missing_embeddings_are_refused(embedding):
  head = _head(embedding=embedding)
  prompts = _prompts().replace(embeddings=None)
  with pytest.raises(errors.UserError) as caught:
    head.log_partition(_fresh(head), prompts, _KAPPA)
  message = str(caught.value)
  assert message.startswith(
    f"the log-partition head reads {embedding} prompt embeddings, and there"
    " are none: fill prompts.embeddings"
  )
  assert "\n" not in message


def test_embeddings_of_another_width_are_refused():
  head = _head()
  with pytest.raises(errors.UserError) as caught:
    head.log_partition(_fresh(head), _prompts(width=12), _KAPPA)
  message = str(caught.value)
  assert message.startswith(
    "prompt embeddings have width 12, but the log-partition head takes 16: "
  )
  assert "\n" not in message


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(kind="mpl"), "kind is 'mpl': did you mean 'mlp'?"),
    (dict(embedding="frozen"), "embedding is 'frozen': choose one of"),
    (dict(pooling="last"), "pooling is 'last': "),
    (dict(units="bits"), "units is 'bits': choose one of accuracy, nats"),
    (dict(probe_prompts=-1), "probe_prompts is -1: set it to 0 or more"),
  ],
)
def test_settings_that_do_not_exist_are_refused(changes, message):
  with pytest.raises(errors.UserError) as caught:
    _config(**changes)
  assert str(caught.value).startswith("config.log_partition." + message)


def test_pooling_is_over_all_real_tokens():
  """Hidden states 1, 2, 3 after one pad, whatever the pad holds."""
  mask = jnp.asarray([[0.0, 1.0, 1.0, 1.0]])
  for pad in (0.0, 1e9, jnp.nan, jnp.inf):
    hidden = jnp.asarray([pad, 1.0, 2.0, 3.0])[None, :, None]
    assert prefix.pooled(hidden, mask).tolist() == [[2.0]]
    assert prefix.pooled(hidden, mask, "mean_but_last").tolist() == [[1.5]]
    gradient = jax.grad(lambda h: prefix.pooled(h, mask)[0, 0])(hidden)
    np.testing.assert_allclose(gradient[0, :, 0], [0.0, *[1 / 3] * 3])
  low = jnp.ones((1, 4, 1), jnp.bfloat16)
  assert prefix.pooled(low, mask).dtype == jnp.float32
  with pytest.raises(errors.UserError, match="pooling is 'last': "):
    prefix.pooled(hidden, mask, "last")


@functools.partial(jax.jit, static_argnames="pooling")
def _read(params, prompts, pooling="mean"):
  model, _ = testing.tiny_model()
  return prefix.read_prompts(model, params, prompts, pooling=pooling).embeddings


def test_pads_and_neighbours_of_a_prompt_do_not_change_its_embedding():
  params = testing.tiny_model()[1]
  prompts = testing.prompt_batch(4, 5)
  assert np.any(prompts.prompt_mask == 0)
  found = _read(params, prompts)
  noisy = prompts.replace(
    prompt_tokens=jnp.where(prompts.prompt_mask > 0, prompts.prompt_tokens, 7)
  )
  np.testing.assert_array_equal(_read(params, noisy), found)
  order = jnp.asarray([2, 0, 3, 1])
  permuted = jax.tree.map(lambda x: x[order], prompts)
  np.testing.assert_allclose(_read(params, permuted), found[order], atol=1e-6)


def test_standardised_dimensions_have_mean_0_and_deviation_1():
  rng = np.random.default_rng(0)
  values = rng.normal(3.0, 5.0, (50, 4)).astype(np.float32)
  values[:, 2] = 7.25
  found = np.asarray(partition_head.standardised(jnp.asarray(values)))
  np.testing.assert_array_equal(found[:, 2], 0.0)
  varied = found[:, [0, 1, 3]]
  np.testing.assert_allclose(varied.mean(axis=0), 0.0, atol=1e-6)
  np.testing.assert_allclose(varied.std(axis=0), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
  "chunk, multiple, rows", [(2, 4, 8), (5, 1, 5), (8, 8, 8), (1, 5, 5)]
)
def test_a_chunk_at_a_time_gives_what_one_pass_gives(chunk, multiple, rows):
  model, params = testing.tiny_model()
  prompts = testing.prompt_batch(5, 5)
  embed = functools.partial(
    partition_head.embed_all,
    model,
    pooling="mean_but_last",
    chunk=chunk,
    multiple=multiple,
  )
  found = jax.jit(embed)(params, prompts)
  whole = partition_head.standardised(_read(params, prompts, "mean_but_last"))
  assert found.shape == (rows, _WIDTH)
  np.testing.assert_allclose(found[:5], whole, atol=1e-5)
  np.testing.assert_array_equal(found[5:], 0.0)
