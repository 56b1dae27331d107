"""Markers as tokens: by hand, and against markers in texts."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import records
from rlvr_jax.metrics import epistemic
from rlvr_jax.metrics import marker_tokens

_SDD10, _SIA9 = epistemic.MARKERS["sdd10"], epistemic.MARKERS["sia9"]
_SYMBOLS = (
  "<pad>", "<eos>", "wait", " Wait", "WAIT", " waiting", ",", " maybe", " so",
  "\nhmm", "ma", "ybe", " un", "likely",
)  # fmt: skip


def test_the_table_takes_variants_of_case_and_space():
  table = marker_tokens.marker_table(_SYMBOLS, _SDD10)
  assert table.dtype == bool and table.shape == (len(_SYMBOLS),)
  ids = marker_tokens.marker_token_ids(_SYMBOLS, _SDD10)
  assert ids == (2, 3, 4, 7, 9, 13)
  assert all(type(i) is int for i in ids)
  assert marker_tokens.marker_token_ids(_SYMBOLS, _SIA9) == (2, 3, 4, 7, 9)


def test_markers_without_a_token_are_refused():
  for call in (marker_tokens.marker_table, marker_tokens.marker_token_ids):
    with pytest.raises(errors.UserError, match="one of the 3 tokens"):
      call(("a", "b", " waits"), ("wait",))


def _fields(seed=0, rows=6, length=9):
  rng = np.random.default_rng(seed)
  lengths = rng.integers(0, length + 1, rows)
  mask = np.arange(length)[None] < lengths[:, None]
  normal = lambda: jnp.asarray(rng.normal(size=(rows, length)), jnp.float32)
  bits = lambda: jnp.asarray(rng.integers(0, 2, rows), jnp.float32)
  return dict(
    completion_tokens=jnp.asarray(rng.integers(2, 10, (rows, length))),
    completion_mask=jnp.asarray(mask, jnp.float32),
    is_correct=bits(),
    table=marker_tokens.marker_table(_SYMBOLS, _SDD10),
    logprobs=-jnp.abs(normal()),
    entropies=jnp.abs(normal()),
    d_hat=normal(),
    has_teacher=bits(),
  )


def _found(fields):
  return {
    name: float(mean.value())
    for name, mean in marker_tokens.marker_means(**fields).items()
  }


def test_means_at_markers_by_hand():
  row = lambda *values: jnp.asarray(values, jnp.float32)
  fields = dict(
    # wait so maybe | waiting Wait, both right and wrong; padding holds "wait".
    completion_tokens=jnp.asarray([[2, 8, 7], [5, 3, 2], [2, 2, 2]]),
    completion_mask=jnp.asarray([[1.0, 1, 1], [1, 1, 0], [0, 0, 0]]),
    is_correct=row(1, 0, 1),
    table=marker_tokens.marker_table(_SYMBOLS, _SDD10),
    logprobs=jnp.stack(
      [row(-1, -2, -3), row(-4, -5, jnp.nan), jnp.full(3, -jnp.inf)]
    ),
    entropies=jnp.stack([row(1, 2, 3), row(4, 5, jnp.nan), row(6, 6, 6)]),
    d_hat=jnp.stack([row(0.5, 9, 1.5), row(9, jnp.nan, 9), row(9, 9, 9)]),
    has_teacher=row(1, 0, 1),
  )
  expected = {
    "epistemic/marker_tokens_mean": 3 / 2,
    "epistemic/marker_tokens_mean/correct": 2.0,
    "epistemic/marker_tokens_mean/incorrect": 1.0,
    "epistemic/marker_tokens_per_1k": 3000 / 5,
    "epistemic/marker_tokens_per_1k/correct": 2000 / 3,
    "epistemic/marker_tokens_per_1k/incorrect": 1000 / 2,
    "epistemic/logp_mean": -3.0,
    "epistemic/logp_mean_all": -3.0,
    "epistemic/entropy_mean": 3.0,
    "epistemic/entropy_mean_all": 3.0,
    "teacher/d_hat_epistemic": 1.0,
  }
  found = _found(fields)
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)
  alone = {k: fields[k] for k in list(fields)[:4]}
  assert _found(alone).keys() == {
    name for name in expected if "marker_tokens" in name
  }


@pytest.mark.parametrize("seed", range(4))
def test_on_device_and_by_word_on_the_host_are_the_same(seed):
  """Where every marker is one token, and no token begins another word."""
  rng = np.random.default_rng(seed)
  symbols = ("<pad>", "<eos>", " wait", " Maybe", " so", " then", ".", " hmm")
  markers = epistemic.markers(("wait", "maybe", "hmm"))
  lengths = rng.integers(1, 12, 8)
  mask = np.arange(11)[None] < lengths[:, None]
  tokens = rng.integers(2, len(symbols), mask.shape)
  texts = [
    "".join(symbols[i] for i in row[kept])
    for row, kept in zip(tokens, mask, strict=True)
  ]
  right = rng.integers(0, 2, 8)
  right[:2] = 0, 1
  host = epistemic.text_metrics(texts, lengths, right, markers)
  device = _found(
    dict(
      completion_tokens=jnp.asarray(tokens),
      completion_mask=jnp.asarray(mask, jnp.float32),
      is_correct=jnp.asarray(right, jnp.float32),
      table=marker_tokens.marker_table(symbols, markers),
    )
  )
  for end, (ours, theirs) in itertools.product(
    ("", "/correct", "/incorrect"),
    (
      ("marker_tokens_mean", "whole_words_mean"),
      ("marker_tokens_per_1k", "per_1k_tokens"),
    ),
  ):
    np.testing.assert_allclose(
      device[f"epistemic/{ours}{end}"],
      host[f"epistemic/{theirs}{end}"],
      rtol=1e-6,
    )


def test_compiled_and_split_the_sums_are_the_same():
  fields = _fields()
  table = fields.pop("table")
  run = jax.jit(lambda x: marker_tokens.marker_means(table=table, **x))
  whole = run(fields)
  parts = [
    run({name: x[rows] for name, x in fields.items()})
    for rows in (slice(0, 2), slice(2, 6))
  ]
  merged = {name: parts[0][name].merge(parts[1][name]) for name in whole}
  order = np.random.default_rng(1).permutation(6)
  shuffled = run({name: x[order] for name, x in fields.items()})
  eager = marker_tokens.marker_means(table=table, **fields)
  for other in (merged, shuffled, eager):
    for name, mean in whole.items():
      assert isinstance(mean, records.Mean)
      np.testing.assert_allclose(other[name].total, mean.total, rtol=1e-5)
      np.testing.assert_allclose(other[name].count, mean.count, rtol=1e-6)


def test_padding_is_inert_and_nothing_is_nan():
  fields = _fields()
  inside = fields["completion_mask"] > 0
  spoilt = fields | {
    name: jnp.where(inside, fields[name], jnp.nan)
    for name in ("logprobs", "entropies", "d_hat")
  }
  wider = {
    name: jnp.pad(x, ((0, 0), (0, 3))) if np.ndim(x) == 2 else x
    for name, x in spoilt.items()
  }
  expected = _found(fields)
  for found in (_found(spoilt), _found(wider)):
    for name, value in expected.items():
      np.testing.assert_allclose(found[name], value, rtol=1e-6)
  empty = spoilt | {"completion_mask": jnp.zeros_like(spoilt["d_hat"])}
  assert set(_found(empty).values()) == {0.0}


def test_no_gradient_passes():
  fields = _fields()
  loss = lambda logprobs: sum(
    mean.value()
    for mean in marker_tokens.marker_means(
      **fields | {"logprobs": logprobs}
    ).values()
  )
  assert not np.any(jax.grad(loss)(fields["logprobs"]))
