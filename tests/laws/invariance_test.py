"""Laws of every experiment: an update does not see how a batch is laid out.

Loss and gradient of each experiment file's objective stay the same under
micro-batch splits, padding, row and prompt order, the number of devices, and
rows that stand twice with half the weight. A new file in experiments/ is
tested without writing a line. `everything` uses all hooks at once, on a real
transformer.
"""

import functools
import importlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlvr_jax import experiment as experiment_lib
from rlvr_jax import objective as objective_lib
from rlvr_jax import partition_head
from rlvr_jax import records
from rlvr_jax import sharding
from rlvr_jax import update
from rlvr_jax.rollouts import scoring
from tests import testing
from tests.laws import bigram

_FILES = sorted(
  path.stem
  for path in pathlib.Path("experiments").glob("*.py")
  if path.stem not in ("__init__", "common")
)
_NAMES = [*_FILES, "everything"]
# Holds the separators and phrases that experiment files name.
_VOCAB = 22
_TOLERANCE = dict(rtol=1e-5, atol=1e-6)
# Cheap one by one, long for all files together; between two that are run.
_SLOW = pytest.mark.slow
# One of each kind; the others' compiles are for `make test-all`.
_QUICK = ("grpo", "paced_rl", "rlrt")
_SOME = [
  name if name in _QUICK else pytest.param(name, marks=_SLOW) for name in _NAMES
]
_EVERYTHING = dict(
  derived=("segment_ids", "planning_tokens", "kl_cov_tokens"),
  segment_ids=dict(separator_ids=(3, 4)),
  planning_tokens=dict(phrases=((5,), (6, 7))),
  kl_cov_tokens=dict(select_frac=0.1),
  reward_shaping=("overlong_penalty", "sequence_kl_penalty"),
  overlong_penalty=dict(max_tokens=6, buffer_tokens=3),
  advantage="reinforce_pp_baseline_advantages",
  filters=("mixed_groups",),
  token_weights=(
    "empg_weights",
    "hicra_weights",
    "steer_weights",
    "forking_token_mask",
  ),
  forking_token_mask=dict(keep_frac=0.6),
  behavior=("truncated_importance",),
  token_loss="kl_cov",
  regularizers=("kl_k1", "kl_k2", "kl_k3", "entropy_bonus"),
  kl_k1=dict(coef=0.1),
  kl_k2=dict(coef=0.1),
  kl_k3=dict(coef=0.1, over="planning_tokens"),
  entropy_bonus=dict(coef=0.1),
  aggregate=dict(name="sequence_mean", over_kept=True),
)


@functools.cache
def _experiment(name: str) -> experiment_lib.Experiment:
  module = importlib.import_module(f"experiments.{name}")
  return experiment_lib.load(module.get_config("tiny").to_dict())


def method_of(name: str) -> objective_lib.Objective:
  if name == "everything":
    return objective_lib.bind(_EVERYTHING)
  return _experiment(name).method


@functools.cache
def _head(name: str) -> partition_head.Head | None:
  """The file's log-partition head; its updates are minus the gradient."""
  head = name != "everything" and experiment_lib.make_head(
    _experiment(name).run
  )
  return head._replace(optimizer=optax.sgd(1.0)) if head else None


@functools.cache
def _state(name: str) -> records.TrainState:
  """A state with a reference and a head where the file has them."""
  _, params = _model(name)
  state = testing.train_state(params, optax.sgd(1.0))
  if "ref_logprobs" in objective_lib.needed_fields(method_of(name)):
    moved = jax.tree.map(lambda x: 1.1 * x, params)
    state = state.replace(ref_params=moved)
  if head := _head(name):
    values = head.init(jax.random.key(1), 100, 4, jnp.asarray(0.4))
    # Away from zero and equal weights, so that every layer has a gradient.
    wave = lambda x: 0.3 * jnp.sin(jnp.arange(1.0, x.size + 1)).reshape(x.shape)
    values = jax.tree.map(lambda x: x + wave(x), values)
    state = state.replace(
      log_partition=values, log_partition_opt_state=head.optimizer.init(values)
    )
  return state


@functools.cache
def _replayed(name: str) -> records.RolloutBatch | None:
  """Rows of earlier steps, some of them empty, where the file replays."""
  if name == "everything" or not _experiment(name).run.replay.capacity:
    return None
  batch = testing.rollout_batch(
    num_prompts=32, samples=1, vocab_size=_VOCAB, seed=5
  )
  valid = (jnp.arange(32) % 3 > 0).astype(jnp.float32)
  keys = ("prompts", "completion_tokens", "completion_mask", "group_ids")
  kept = {key: getattr(batch, key) for key in (*keys, "sample_index")}
  return _with_embeddings(
    records.RolloutBatch(**kept, valid=valid, rewards=valid, is_correct=valid)
  )


def _with_embeddings(batch: records.RolloutBatch) -> records.RolloutBatch:
  """Prompts with what a head reads: of their ids, wherever they stand."""
  ids = batch.prompts.prompt_ids[:, None].astype(jnp.float32)
  embeddings = jnp.sin(ids * jnp.arange(1.0, 5.0)[None])
  return batch.replace(prompts=batch.prompts.replace(embeddings=embeddings))


def _with_teacher(
  name: str, batch: records.RolloutBatch
) -> records.RolloutBatch:
  """Random opinions of a teacher that lacks on every third row."""
  if name == "everything" or not _experiment(name).run.teacher:
    return batch
  shape, config = batch.completion_mask.shape, _experiment(name).run.teacher
  uniform = lambda i, *more: jax.random.uniform(
    jax.random.key(i), (*shape, *more), minval=-3.0, maxval=0.0
  )
  batch = batch.replace(
    teacher_logprobs=uniform(1),
    teacher_entropies=-uniform(2),
    has_teacher=(jnp.arange(shape[0]) % 3 > 0).astype(jnp.float32),
  )
  if "support_logprobs" not in objective_lib.needed_fields(method_of(name)):
    return batch
  whole = jax.nn.log_softmax(uniform(3, _VOCAB))
  if not config.top_k:
    return batch.replace(teacher_support_logprobs=whole)
  ids = scoring.likeliest_tokens(
    *_model(name), batch.prompts, batch.completion_tokens, config.top_k
  )
  return batch.replace(
    support_ids=ids,
    teacher_support_logprobs=jnp.take_along_axis(whole, ids, axis=-1),
  )


@functools.cache
def _model(name: str):
  if name == "everything":
    return testing.tiny_model(vocab_size=_VOCAB)
  return bigram.bigram_model(_VOCAB)


@functools.cache
def _batch(name: str) -> records.RolloutBatch:
  """Mixed and equal groups, an unjudged row, ratios in and out of clips."""
  batch = testing.rollout_batch(num_prompts=8, samples=4, vocab_size=_VOCAB)
  rng = np.random.default_rng(1)
  correct = rng.random((8, 4)) < 0.5
  correct[0], correct[1] = True, False
  correct = jnp.asarray(correct.reshape(-1), jnp.float32)
  model, params = _model(name)
  scores = testing.score(
    model, params, batch.prompts, batch.completion_tokens
  ).logprobs
  noise = jnp.asarray(rng.normal(0.0, 0.3, scores.shape), jnp.float32)
  batch = _with_teacher(name, _with_embeddings(batch))
  return batch.replace(
    is_correct=correct,
    rewards=correct,
    valid=batch.valid.at[6].set(0.0),
    old_logprobs=jnp.minimum(scores + noise, 0.0) * batch.completion_mask,
  )


@functools.cache
def _compiled(
  name: str, mesh_shape: tuple[int, ...] | None, micro: int, buckets: int
):
  """(state, batch) -> (state, metrics), with updates of minus the gradient."""
  optimizer = optax.sgd(1.0)
  step = functools.partial(
    update.train_step,
    model=_model(name)[0],
    method=method_of(name),
    optimizer=optimizer,
    config=update.UpdateConfig(num_micro_batches=micro, length_buckets=buckets),
    head=_head(name),
  )
  if mesh_shape is None:
    return jax.jit(step)
  mesh = sharding.make_mesh(sharding.MeshConfig(*mesh_shape))
  rows, whole = sharding.row_sharding(mesh), sharding.replicated(mesh)
  compiled = jax.jit(
    step, in_shardings=(whole, rows, rows), out_shardings=(whole, whole)
  )
  return lambda state, *batches: compiled(
    jax.device_put(state, whole), *jax.device_put(batches, rows)
  )


def _step(name, batch, mesh_shape=None, micro=1, buckets=1):
  """Metrics and gradient of one update on a batch."""
  before = _state(name)
  after, metrics = _compiled(name, mesh_shape, micro, buckets)(
    before, batch, _replayed(name)
  )
  learned = lambda state: (state.params, state.log_partition)
  gradient = jax.tree.map(
    lambda a, b: np.asarray(a - b), learned(before), learned(after)
  )
  return jax.device_get(metrics), gradient


@functools.cache
def _reference(name):
  return _step(name, _batch(name))


def _assert_same(name, metrics, gradient):
  expected_metrics, expected = _reference(name)
  for key, value in expected_metrics.items():
    np.testing.assert_allclose(metrics[key], value, err_msg=key, **_TOLERANCE)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, **_TOLERANCE),
    gradient,
    expected,
  )


def _row_arrays(batch, change):
  """Applies a change to every array with one entry per row."""
  return {
    field: change(value)
    for field, value in vars(batch).items()
    if field != "prompts" and value is not None
  }


@pytest.mark.parametrize("name", _SOME)
def test_the_reference_has_a_gradient(name):
  for part in filter(None, _reference(name)[1]):
    assert max(np.abs(x).max() for x in jax.tree.leaves(part)) > 1e-3


@pytest.mark.parametrize("name", _SOME)
@pytest.mark.parametrize(
  "micro",
  [pytest.param(2, marks=_SLOW), pytest.param(4, marks=_SLOW), 32],
)
def test_micro_batches(name, micro):
  # 32 parts share the four rows of a prompt out, down to single rows.
  _assert_same(name, *_step(name, _batch(name), micro=micro))


@pytest.mark.slow
@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize("micro, buckets", [(1, 2), (8, 4)])
def test_length_buckets(name, micro, buckets):
  _assert_same(name, *_step(name, _batch(name), micro=micro, buckets=buckets))


@pytest.mark.parametrize("name", _SOME)
@pytest.mark.parametrize("left, right", [(3, 5)])
def test_padding(name, left, right):
  batch = _batch(name)

  def widen(x: jax.Array) -> jax.Array:
    more = ((0, 0), (0, right), (0, 0))[: x.ndim]
    return x if x.ndim < 2 else jnp.pad(x, more)

  prompts = batch.prompts.replace(
    prompt_tokens=jnp.pad(batch.prompts.prompt_tokens, ((0, 0), (left, 0))),
    prompt_mask=jnp.pad(batch.prompts.prompt_mask, ((0, 0), (left, 0))),
  )
  wider = batch.replace(prompts=prompts, **_row_arrays(batch, widen))
  assert wider.completion_tokens.shape[1] == 6 + right
  _assert_same(name, *_step(name, wider))


@pytest.mark.parametrize("name", _SOME)
def test_junk_in_padded_cells(name):
  batch = _batch(name)
  outside = batch.completion_mask == 0
  junk = {
    field: jnp.where(outside, jnp.nan, getattr(batch, field))
    for field in (
      "sampler_logprobs",
      "log_kept_mass",
      "frozen_entropies",
      "frozen_mean_logprobs",
      "old_logprobs",
      "teacher_logprobs",
      "teacher_entropies",
    )
    if getattr(batch, field) is not None
  }
  support = batch.teacher_support_logprobs
  if support is not None:
    support = jnp.where(outside[..., None], jnp.nan, support)
    junk["teacher_support_logprobs"] = support
  tokens = jnp.where(outside, 7, batch.completion_tokens)
  dirty = batch.replace(completion_tokens=tokens, **junk)
  _assert_same(name, *_step(name, dirty))


def _permuted(batch, prompt_order, sample_order):
  num_prompts, samples = len(prompt_order), len(sample_order)
  rows = (prompt_order[:, None] * samples + sample_order[None]).reshape(-1)
  moved = _row_arrays(batch, lambda x: x[rows])
  # Group numbers are positions in the batch: number them anew.
  moved["group_ids"] = jnp.repeat(
    jnp.arange(num_prompts, dtype=jnp.int32), samples
  )
  prompts = jax.tree.map(lambda x: x[prompt_order], batch.prompts)
  return batch.replace(prompts=prompts, **moved)


@pytest.mark.parametrize("name", _SOME)
def test_row_and_prompt_order(name):
  rng = np.random.default_rng(0)
  batch = _permuted(_batch(name), rng.permutation(8), rng.permutation(4))
  _assert_same(name, *_step(name, batch))


@pytest.mark.slow
@pytest.mark.parametrize("name", _SOME)
def test_rows_that_stand_twice_with_half_the_weight(name):
  batch = _batch(name)
  doubled = _row_arrays(batch, lambda x: jnp.repeat(x, 2, axis=0))
  doubled["valid"] *= 0.5
  metrics, gradient = _step(name, batch.replace(**doubled))
  _assert_same(name, metrics, gradient)


@pytest.mark.parametrize("name", [x for x in _SOME if x != "everything"])
@pytest.mark.parametrize(
  "mesh_shape", [pytest.param((2, 1, 1), marks=_SLOW), (8, 1, 1)]
)
def test_devices(name, mesh_shape):
  _assert_same(name, *_step(name, _batch(name), mesh_shape))


@pytest.mark.parametrize(
  "name", ["grpo", pytest.param("everything", marks=_SLOW)]
)
@pytest.mark.parametrize(
  "mesh_shape",
  [
    (2, 2, 2),
    pytest.param((4, 1, 1), marks=_SLOW),
    pytest.param((1, 4, 2), marks=_SLOW),
  ],
)
def test_micro_batches_on_devices(name, mesh_shape):
  _assert_same(name, *_step(name, _batch(name), mesh_shape, micro=2))
