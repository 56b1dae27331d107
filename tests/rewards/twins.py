"""A verifier on token ids beside its twin, which reads text in Python."""

import collections

import numpy as np

from rlvr_jax import records


def encoded(text, vocabulary, length, unfinished):
  """Tokens of a completion; "<pad>" inside stands for the pad token.

  Without a text they are those of `unfinished`, its last one until the end.
  """
  if text is None:
    ids = vocabulary.encode(unfinished)
    return [*ids, *[ids[-1]] * (length - len(ids))]
  ids = []
  for number, part in enumerate(text.split("<pad>")):
    ids += [vocabulary.pad_id] * (number > 0) + list(vocabulary.encode(part))
  ids.append(vocabulary.eos_id)
  return ids + [vocabulary.pad_id] * (length - len(ids))


def text_of(row, vocabulary):
  """What the twin reads; None of a row without an end."""
  return vocabulary.decode(row) if vocabulary.eos_id in row else None


def names(outcomes):
  """Of the compiled verifier."""
  return [records.OUTCOMES[outcome] for outcome in np.asarray(outcomes)]


def damaged(rng, ids, symbols, vocabulary, length, *, noise, most):
  """A completion with up to `most` symbols changed, or noise alone."""
  row = np.full(length, vocabulary.eos_id)
  if rng.random() < noise:
    row[:] = rng.choice(symbols, length)
    return row
  row[: len(ids)] = ids
  for _ in range(rng.integers(0, most + 1)):
    row[rng.integers(0, len(ids) + 1)] = rng.choice(symbols)
  return row


def assert_agree(ours, twins):
  """On many random completions."""
  for number, (one, other) in enumerate(zip(ours, twins, strict=True)):
    assert one == other, number
  # The test is worth something only if every outcome occurs often.
  counts = collections.Counter(ours)
  for outcome in ("correct", "wrong", "unparsed", "truncated"):
    assert counts[outcome] > 200, counts
