"""Fused token statistics equal the plain definition, values and gradients."""

import jax
import jax.numpy as jnp
from jax.sharding import AbstractDevice
from jax.sharding import AbstractMesh
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
from jax.sharding import use_abstract_mesh
import numpy as np
import pytest

from rlvr_jax.kernels import token_logprobs as package
from rlvr_jax.kernels.token_logprobs import chunked_xla
from rlvr_jax.kernels.token_logprobs import fused
from rlvr_jax.kernels.token_logprobs import pallas_gpu
from rlvr_jax.kernels.token_logprobs import pallas_tpu
from rlvr_jax.kernels.token_logprobs import reference

_TPU = pallas_tpu.passes(
  rows=16, columns=128, depth=128, slice_logits=5000, interpret=True
)
_GPU = pallas_gpu.passes(
  rows=16, columns=32, depth=16, slice_logits=1500, interpret=True
)
_FUSED = {
  "chunked_xla": chunked_xla.token_logprobs,
  "pallas_tpu": fused.differentiable(_TPU),
  "pallas_gpu": fused.differentiable(_GPU),
}
_EVERY = {"reference": reference.token_logprobs, **_FUSED}
_every = pytest.mark.parametrize("function", _EVERY.values(), ids=_EVERY)


def _inputs(rows, width, vocab, seed=0):
  keys = jax.random.split(jax.random.key(seed), 3)
  return (
    jax.random.normal(keys[0], (rows, width)),
    jax.random.normal(keys[1], (width, vocab)),
    jax.random.randint(keys[2], (rows,), 0, vocab),
  )


def _limit_blocks(monkeypatch, rows, logits, devices=1):
  monkeypatch.setattr(jax, "device_count", lambda: devices)
  monkeypatch.setattr(chunked_xla, "_LIMITS", {"cpu": (rows, logits)})


def _values_and_gradients(function):
  """Compiles the statistics, and gradients of one of their weighted sums."""

  @jax.jit
  def both(inputs, temperature, upstream):
    hidden, unembedding, targets = inputs
    call = lambda *x: function(*x, targets, temperature)
    values, pull_back = jax.vjp(call, hidden, unembedding)
    return values, pull_back(fused.TokenStatistics(*upstream))

  return lambda inputs, temperature, upstream: both(
    inputs, jnp.float32(temperature), upstream
  )


def _assert_equal(ours, theirs, tolerance=1e-5):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(
      a.astype(jnp.float32),
      b.astype(jnp.float32),
      rtol=tolerance,
      atol=tolerance,
    ),
    ours,
    theirs,
  )


def _assert_equals_the_reference(function, inputs):
  rows = len(inputs[2])
  ours, plain = map(_values_and_gradients, (function, reference.token_logprobs))
  # All four statistics at once, and each one alone.
  mixed = jax.random.normal(jax.random.key(9), (4, rows))
  alone = [mixed * jnp.eye(4)[:, i, None] for i in range(4)]
  for upstream in [mixed, *alone]:
    _assert_equal(ours(inputs, 0.6, upstream), plain(inputs, 0.6, upstream))


@pytest.mark.parametrize(
  "block, rows, width, vocab",
  [
    ((4, 7), 1, 3, 5),
    ((4, 16), 12, 8, 8),
    ((5, 20), 13, 8, 7),
    ((5, 40), 6, 4, 33),
    ((9, 10**6), 6, 4, 33),
  ],
)
def test_blocks_equal_the_reference(monkeypatch, block, rows, width, vocab):
  _limit_blocks(monkeypatch, *block)
  inputs = _inputs(rows, width, vocab)
  _assert_equals_the_reference(chunked_xla.token_logprobs, inputs)


@pytest.mark.parametrize("name", ["pallas_tpu", "pallas_gpu"])
@pytest.mark.parametrize("rows, width, vocab", [(37, 48, 301), (20, 384, 130)])
def test_kernels_equal_the_reference(name, rows, width, vocab):
  hidden, unembedding, targets = _inputs(rows, width, vocab)
  inputs = hidden / width**0.5, unembedding, targets
  _assert_equals_the_reference(_FUSED[name], inputs)


@pytest.mark.parametrize(
  "rows, width, dtype, blocks",
  [
    # Even blocks of rows, of whole tiles of 16.
    (1100, 1024, "bfloat16", (560, 512, 1024)),
    (4096, 1024, "bfloat16", (1024, 512, 1024)),
    # Fewer rows stay where they are wide; the depth divides the width.
    (4096, 2560, "bfloat16", (688, 512, 640)),
    (4096, 5120, "bfloat16", (384, 512, 1024)),
    (1024, 1024, "float32", (1024, 256, 1024)),
    (3, 896, "bfloat16", (3, 512, 896)),
    # No multiple of 128 divides this one.
    (64, 200, "bfloat16", (64, 512, 200)),
  ],
)
def test_blocks_of_the_tpu_kernels(rows, width, dtype, blocks):
  hidden = jax.ShapeDtypeStruct((rows, width), dtype)
  unembedding = jax.ShapeDtypeStruct((width, 32000), dtype)
  assert pallas_tpu._blocks(hidden, unembedding, 1024, 512, 1024) == blocks


@_every
def test_values_and_gradients_of_a_two_way_split(function):
  # Logits (0, ln 3): probabilities 1/4 and 3/4, their sum 4; d log p of the
  # second = (-1/4, 1/4), and dH = -p (log p + H).
  odds = np.log(3.0)
  inputs = (jnp.ones((1, 1)), jnp.array([[0.0, odds]]), jnp.array([1]))
  entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
  expected = [
    (np.log(0.75), [-0.25, 0.25]),
    (
      entropy,
      [-0.25 * (np.log(0.25) + entropy), -0.75 * (np.log(0.75) + entropy)],
    ),
    ((np.log(0.25) + np.log(0.75)) / 2, [0.25, -0.25]),
    (np.log(4.0), [0.25, 0.75]),
  ]
  both = _values_and_gradients(function)
  for i, (value, d_logits) in enumerate(expected):
    values, (d_hidden, d_unembedding) = both(
      inputs, 1.0, jnp.eye(4)[i][:, None]
    )
    np.testing.assert_allclose(values[i], [value], rtol=1e-5)
    np.testing.assert_allclose(d_unembedding, [d_logits], atol=1e-6)
    np.testing.assert_allclose(d_hidden, [[d_logits[1] * odds]], atol=1e-6)


@pytest.mark.parametrize(
  "name, types",
  [
    ("chunked_xla", ("bfloat16", "bfloat16")),
    ("chunked_xla", ("bfloat16", "float32")),
    ("chunked_xla", ("float16", "float16")),
    ("pallas_tpu", ("bfloat16", "bfloat16")),
    ("pallas_tpu", ("float32", "bfloat16")),
    ("pallas_gpu", ("bfloat16", "bfloat16")),
    ("pallas_gpu", ("float16", "float16")),
  ],
)
def test_low_precision_operands_are_summed_in_float32(name, types):
  hidden, unembedding, targets = _inputs(20, 32, 160)
  low = hidden.astype(types[0]) / 4, unembedding.astype(types[1])
  exact = [x.astype(jnp.float32) for x in low]
  upstream = jnp.sin(jnp.arange(80.0)).reshape(4, 20)
  values, gradients = _values_and_gradients(_FUSED[name])(
    (*low, targets), 0.7, upstream
  )
  plain_values, plain_gradients = _values_and_gradients(
    reference.token_logprobs
  )((*exact, targets), 0.7, upstream)
  assert all(x.dtype == jnp.float32 for x in values)
  assert [x.dtype for x in gradients] == list(map(jnp.dtype, types))
  _assert_equal(values, plain_values, 1e-4)
  _assert_equal(gradients, plain_gradients, 0.06)


@_every
def test_an_impossible_token_leaves_no_nan(monkeypatch, function):
  _limit_blocks(monkeypatch, 4, 12)
  hidden, unembedding, _ = _inputs(6, 8, 5)
  hidden = 2 + jnp.abs(hidden)
  # Finite weights whose logits overflow to -inf: the first token, which is
  # alone in the first block of some, and one in the middle.
  gone = jnp.array([0, 3])
  inputs = hidden, unembedding.at[:, gone].set(-3e38), jnp.array([1, 2] * 3)
  # The mean log-probability is that of no finite number.
  upstream = jnp.sin(jnp.arange(24.0)).reshape(4, 6).at[2].set(0)
  values, gradients = _values_and_gradients(function)(inputs, 1.0, upstream)
  kept = jnp.array([1, 2, 4])
  few = hidden, unembedding[:, kept], jnp.array([0, 1] * 3)
  plain, plain_gradients = _values_and_gradients(reference.token_logprobs)(
    few, 1.0, upstream
  )
  blank = jnp.zeros(6)
  _assert_equal(
    values._replace(mean_logprobs=blank), plain._replace(mean_logprobs=blank)
  )
  _assert_equal(gradients[0], plain_gradients[0])
  _assert_equal(gradients[1][:, kept], plain_gradients[1])
  np.testing.assert_array_equal(gradients[1][:, gone], 0)


@_every
def test_far_apart_and_large_logits_stay_exact(function):
  # Logits (1000, 999, -1000) and (0, 0, 300).
  hidden = jnp.array([[1000.0, 0.0], [0.0, 1.0]])
  unembedding = jnp.array([[1.0, 0.999, -1.0], [0.0, 0.0, 300.0]])
  (logprobs, entropies, _, log_normalizers), gradients = _values_and_gradients(
    function
  )((hidden, unembedding, jnp.array([1, 0])), 1.0, jnp.ones((4, 2)))
  small = np.log(1 + np.exp(-1))
  np.testing.assert_allclose(logprobs, [-1 - small, -300], rtol=1e-4)
  share = 1 / (1 + np.exp(-1))
  np.testing.assert_allclose(entropies, [small + (1 - share), 0], atol=1e-4)
  np.testing.assert_allclose(log_normalizers, [1000 + small, 300], rtol=1e-6)
  assert all(jnp.all(jnp.isfinite(x)) for x in gradients)


def test_the_temperature_is_a_constant_and_may_be_traced():
  inputs = _inputs(3, 4, 6)
  total = lambda t: sum(
    jnp.sum(x) for x in package.token_logprobs(*inputs, temperature=t)
  )
  np.testing.assert_allclose(jax.jit(total)(0.5), total(0.5), rtol=1e-6)
  assert jax.grad(total)(0.5) == 0


def test_no_full_logits_in_forward_or_backward(monkeypatch):
  _limit_blocks(monkeypatch, 8, 80)
  rows, vocab = 64, 50
  text = str(
    jax.make_jaxpr(
      lambda *x: _values_and_gradients(chunked_xla.token_logprobs)(
        x, 1.0, jnp.ones((4, rows))
      )
    )(*_inputs(rows, 4, vocab))
  )
  assert f"f32[{rows},{vocab}]" not in text
  assert "f32[8,10]" in text


def test_memory_is_flat_in_the_vocabulary(monkeypatch):
  monkeypatch.setattr(jax, "device_count", lambda: 1)
  rows, width = 512, 64

  def temporary(vocab):
    shapes = jax.eval_shape(lambda: _inputs(rows, width, vocab))
    total = lambda *x: sum(map(jnp.sum, package.token_logprobs(*x)))
    compiled = (
      jax.jit(jax.value_and_grad(total, argnums=(0, 1)))
      .lower(*shapes)
      .compile()
    )
    return compiled.memory_analysis().temp_size_in_bytes

  # Beyond the arguments and the gradients themselves, which grow with it.
  found = [temporary(vocab) for vocab in (2**13, 2**15, 2**17)]
  assert max(found) <= 1.2 * min(found)
  assert max(found) < 4 * rows * 2**17 / 4


def test_rows_and_vocabulary_may_be_split_over_devices(monkeypatch):
  _limit_blocks(monkeypatch, 8, 160, devices=4)
  mesh = jax.make_mesh(
    (2, 2),
    ("rows", "vocab"),
    axis_types=(AxisType.Auto,) * 2,
    devices=jax.devices()[:4],
  )
  place = lambda *names: NamedSharding(mesh, PartitionSpec(*names))
  rows, inputs = place("rows"), _inputs(48, 6, 40)
  places = (rows, place(None, "vocab"), rows)
  upstream = jnp.sin(jnp.arange(192.0)).reshape(4, 48)
  both = lambda *x: _values_and_gradients(chunked_xla.token_logprobs)(
    x, 0.7, upstream
  )
  compiled = (
    jax.jit(both, in_shardings=places, out_shardings=(rows, places[:2]))
    .lower(*inputs)
    .compile()
  )
  _assert_equal(
    compiled(*jax.device_put(inputs, places)),
    _values_and_gradients(reference.token_logprobs)(inputs, 0.7, upstream),
  )
  # Every device multiplies its rows of a block with its part of the vocabulary.
  assert "f32[8,20]" in compiled.as_text()
  assert "f32[16,20]" not in compiled.as_text()
  assert "f32[8,40]" not in compiled.as_text()


@pytest.mark.parametrize(
  ("rows", "columns", "width"),
  # Whole multiples of 16; at least one, and no more than there are.
  [(10, 500, 96), (10, 50, 50), (1000, 500, 16)],
)
def test_a_slice_has_as_many_columns_as_its_logits_allow(rows, columns, width):
  assert fused.slice_of_columns(1000, 16, rows, columns) == (rows, width)


def test_one_block_makes_no_loop():
  lowered = jax.jit(
    lambda *x: _values_and_gradients(chunked_xla.token_logprobs)(
      x, 1.0, jnp.ones((4, 64))
    )
  ).lower(*_inputs(64, 8, 96))
  assert "while" not in lowered.as_text()


def test_no_rows_give_no_values_and_no_gradients():
  hidden, unembedding = jnp.zeros((0, 4)), jnp.zeros((4, 6))
  call = lambda *x: package.token_logprobs(*x, jnp.zeros(0, jnp.int32))
  outputs, pull_back = jax.vjp(call, hidden, unembedding)
  assert [x.shape for x in outputs] == [(0,)] * 4
  d_hidden, d_unembedding = pull_back(outputs)
  assert d_hidden.shape == (0, 4)
  np.testing.assert_array_equal(d_unembedding, jnp.zeros((4, 6)))


@pytest.mark.parametrize("name", ["cuda", "pallas_tpu", "pallas_gpu"])
def test_what_this_backend_lacks_is_refused(name):
  with pytest.raises(
    ValueError,
    match=f"'{name}', and this backend, cpu, has chunked_xla, reference: ch",
  ):
    package.token_logprobs(*_inputs(1, 2, 3), implementation=name)


@pytest.mark.parametrize("name", ["chunked_xla", "reference", None])
def test_implementations_by_name(name):
  inputs = _inputs(3, 4, 5)
  _assert_equal(
    package.token_logprobs(*inputs, temperature=0.5, implementation=name),
    reference.token_logprobs(*inputs, jnp.float32(0.5)),
  )


@pytest.mark.parametrize(
  "backend, devices, vocab, module",
  [
    ("tpu", 1, 2048, pallas_tpu),
    ("tpu", 1, 2000, chunked_xla),
    ("tpu", 2, 2048, chunked_xla),
    ("gpu", 1, 2048, chunked_xla),
    ("cpu", 1, 2048, chunked_xla),
  ],
)
def test_the_default_is_a_kernel_where_it_suits(
  monkeypatch, backend, devices, vocab, module
):
  monkeypatch.setattr(jax, "default_backend", lambda: backend)
  monkeypatch.setattr(jax, "device_count", lambda: devices)
  hidden, unembedding = jnp.zeros((4, 128)), jnp.zeros((128, vocab))
  found = package._function(hidden, unembedding, None)
  assert found is module.token_logprobs


def test_the_gpu_kernels_lower_without_a_gpu():
  device = AbstractDevice(
    platform="gpu", device_kind="NVIDIA H100 80GB HBM3", num_cores=None
  )
  both = _values_and_gradients(fused.differentiable(pallas_gpu.passes()))
  with use_abstract_mesh(AbstractMesh((), (), abstract_device=device)):
    text = (
      jax.jit(lambda *x: both(x, 1.0, jnp.ones((4, 300))))
      .trace(*_inputs(300, 192, 1000))
      .lower(lowering_platforms=("cuda",))
      .as_text()
    )
  assert text.count("triton") >= 2
