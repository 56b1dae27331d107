"""Markers in texts, by hand."""

import math

import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax.metrics import epistemic

_SDD10, _SIA9 = epistemic.MARKERS["sdd10"], epistemic.MARKERS["sia9"]
_TEXT = (
  "Wait, wait. Waiting is unlikely to help; likely I should check the checksum."
)


def _present(counts):
  return {word: count for word, count in counts.items() if count}


# ------------------------------------------------------------------- markers


def test_the_presets_differ_by_one_word():
  assert len(_SDD10) == 10 and len(_SIA9) == 9
  assert set(_SDD10) - set(_SIA9) == {"likely"}
  assert epistemic.markers("sdd10") == _SDD10


def test_own_markers_come_in_lower_case_and_once():
  found = epistemic.markers(("Wait", " hold on ", "wait"))
  assert found == ("wait", "hold on")
  assert epistemic.markers(["?"]) == ("?",)


@pytest.mark.parametrize(
  "choice, message",
  [
    ("sdd9", "markers is 'sdd9': did you mean 'sdd10'?"),
    ("wait", "choose one of sdd10, sia9, or give a tuple of words"),
    ((), r"markers is \(\): give one word or more"),
    (("wait", " "), "markers holds ' '"),
    (("wait", 3), "markers holds 3"),
  ],
)
def test_markers_that_cannot_be_are_refused(choice, message):
  with pytest.raises(errors.UserError, match=message):
    epistemic.markers(choice)


# ------------------------------------------------------------------ counting


def test_substrings_by_hand():
  found = epistemic.count_markers(_TEXT, _SDD10)
  assert _present(found) == {"wait": 3, "likely": 2, "check": 2}
  assert tuple(found) == _SDD10
  assert sum(found.values()) == 7
  assert sum(epistemic.count_markers(_TEXT, _SIA9).values()) == 5


def test_whole_words_by_hand():
  found = epistemic.count_markers(_TEXT, _SDD10, "word")
  assert _present(found) == {"wait": 2, "likely": 1, "check": 1}


@pytest.mark.parametrize("mode", epistemic.MODES)
def test_nothing_and_capitals(mode):
  total = lambda text: sum(epistemic.count_markers(text, _SDD10, mode).values())
  assert total("") == 0
  assert total("WAIT") == 1


def test_a_marker_may_be_a_sign_or_a_phrase():
  count = lambda text, word, mode: epistemic.count_markers(text, (word,), mode)
  assert count("1?2??", "?", "word") == {"?": 3}
  assert count("so: hold on. threshold one", "hold on", "substring") == {
    "hold on": 2
  }
  assert count("so: hold on. threshold one", "hold on", "word") == {
    "hold on": 1
  }
  assert count("a.b", ".", "word") == {".": 1}


def test_an_unknown_mode_is_refused():
  with pytest.raises(errors.UserError, match="mode is 'words': did you mean"):
    epistemic.count_markers("", _SDD10, "words")


# ------------------------------------------------------------------ thinking


@pytest.mark.parametrize(
  "text, split, stripped",
  [
    ("a</think>b", ("a", "b"), "b"),
    ("<think>a</think>b", ("a", "b"), "b"),
    ("x<think>a</think>b", ("a", "b"), "b"),
    ("a</think>b</think>c", ("a", "b</think>c"), "b</think>c"),
    ("</think>", ("", ""), ""),
    ("answer", ("", "answer"), "answer"),
    ("<think>cut off", ("cut off", ""), "<think>cut off"),
    ("", ("", ""), ""),
  ],
)
def test_thinking_ends_at_the_first_closing_tag(text, split, stripped):
  assert epistemic.think_split(text) == split
  assert epistemic.strip_thinking(text) == stripped


# --------------------------------------------------------------------- loops


def test_repeated_ngrams_by_hand():
  # (1, 2), (2, 1), (1, 2), (2, 1): two of four stood there before.
  assert epistemic.repeated_ngram_frac([1, 2, 1, 2, 1], n=2) == 0.5
  assert epistemic.repeated_ngram_frac([7] * 119) == 0.99
  assert epistemic.repeated_ngram_frac(range(1000)) == 0.0


def test_too_few_tokens_repeat_nothing():
  for length in (0, 1, 19):
    assert epistemic.repeated_ngram_frac([7] * length) == 0.0
  with pytest.raises(errors.UserError, match="n is 0"):
    epistemic.repeated_ngram_frac([1], n=0)


def test_repeated_ngrams_by_enumeration():
  rng = np.random.default_rng(0)
  for n in (1, 2, 3):
    tokens = rng.integers(0, 3, 30).tolist()
    windows = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    repeats = sum(w in windows[:i] for i, w in enumerate(windows))
    np.testing.assert_allclose(
      epistemic.repeated_ngram_frac(tokens, n), repeats / len(windows)
    )


# -------------------------------------------------------- metrics of a batch

_TEXTS = ("wait, wait: waiting", "so it is", "Maybe")


def _metrics(**options):
  return epistemic.text_metrics(
    _TEXTS, [100, 50, 50], [1, 0, 1], _SDD10, **options
  )


def test_rates_by_hand():
  found = _metrics()
  expected = {
    "epistemic/count_mean": 4 / 3,
    "epistemic/count_mean/correct": 2.0,
    "epistemic/count_mean/incorrect": 0.0,
    # Sum over sum; the mean of the three rates would be 16.67.
    "epistemic/per_1k_tokens": 20.0,
    "epistemic/per_1k_tokens/correct": 4000 / 150,
    "epistemic/any_frac": 2 / 3,
    "epistemic/any_frac/correct": 1.0,
    "epistemic/word/wait": 1.0,
    "epistemic/word/wait/correct": 1.5,
    "epistemic/word/maybe": 1 / 3,
    "epistemic/word/maybe/incorrect": 0.0,
    "epistemic/word/hmm": 0.0,
    "epistemic/whole_words_mean": 1.0,
    "epistemic/whole_words_mean/correct": 1.5,
    "epistemic/num_correct": 2,
    "epistemic/num_incorrect": 1,
    "length/mean": 200 / 3,
    "length/correct": 75.0,
    "length/incorrect": 50.0,
  }
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, err_msg=name)
  assert not any(name.startswith("repeat/") for name in found)
  assert "length/clip_frac" not in found and "length/think" not in found


def test_what_is_only_sometimes_known():
  found = _metrics(was_cut=[0, 1, 0], tokens=[[1] * 4, [1, 2, 3], [5]], ngram=2)
  np.testing.assert_allclose(found["length/clip_frac"], 1 / 3)
  # 2 of 3 bigrams of the first response; the others have none twice.
  np.testing.assert_allclose(found["repeat/ngram_frac"], 2 / 9)
  np.testing.assert_allclose(found["repeat/ngram_frac/correct"], 1 / 3)
  assert found["repeat/ngram_frac/incorrect"] == 0.0


def test_lengths_of_thinking_are_over_responses_that_closed_it():
  texts = ("<think>one two</think>three", "four five", "six</think>seven")
  found = epistemic.text_metrics(
    texts, [9, 9, 9], [1, 1, 0], _SDD10, count_tokens=lambda x: len(x.split())
  )
  assert found["length/think"] == 1.5
  assert found["length/answer"] == 1.0
  found = epistemic.text_metrics(
    ["a"], [1], [1], _SDD10, count_tokens=lambda x: len(x)
  )
  assert "length/think" not in found


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_a_split_without_rows_is_a_count_of_0(right):
  found = epistemic.text_metrics(_TEXTS, [100, 50, 50], [right] * 3, _SDD10)
  there, missing = ("correct", "incorrect")[:: 1 if right else -1]
  assert found[f"epistemic/num_{missing}"] == 0
  assert found[f"epistemic/num_{there}"] == 3
  assert not any(name.endswith(f"/{missing}") for name in found)
  assert f"epistemic/count_mean/{there}" in found
  assert all(map(math.isfinite, found.values()))


def test_no_rows_and_no_tokens_give_no_nan():
  assert epistemic.text_metrics([], [], [], _SDD10, tokens=[], was_cut=[]) == {
    "epistemic/num_correct": 0,
    "epistemic/num_incorrect": 0,
  }
  found = epistemic.text_metrics([""], [0], [1], _SDD10)
  assert found["epistemic/count_mean"] == 0.0
  assert "epistemic/per_1k_tokens" not in found


def test_fields_of_other_lengths_are_refused():
  with pytest.raises(errors.UserError, match="is_correct has 2 entries for 3"):
    epistemic.text_metrics(_TEXTS, [1, 1, 1], [1, 0], _SDD10)
  with pytest.raises(errors.UserError, match="tokens has 0 entries for 3"):
    _metrics(tokens=[])


def _random_batch(seed, num_rows=12):
  rng = np.random.default_rng(seed)
  words = ("wait", "Maybe", "so", "unlikely", "</think>", "x", "check.")
  texts = [
    " ".join(rng.choice(words, rng.integers(0, 9))) for _ in range(num_rows)
  ]
  tokens = [rng.integers(0, 3, len(text)).tolist() for text in texts]
  return dict(
    texts=texts,
    num_tokens=[len(row) for row in tokens],
    is_correct=rng.integers(0, 2, num_rows).astype(np.float32),
    was_cut=rng.integers(0, 2, num_rows),
    tokens=tokens,
  )


def _rows(batch, chosen):
  return {k: [values[i] for i in chosen] for k, values in batch.items()}


def _means(batch):
  return epistemic.text_means(
    **batch, markers=_SDD10, ngram=3, count_tokens=len
  )


@pytest.mark.parametrize("seed", range(5))
def test_neither_order_nor_split_of_the_rows_matters(seed):
  batch = _random_batch(seed)
  whole = _means(batch)
  order = np.random.default_rng(seed).permutation(12)
  parts = [_means(_rows(batch, part)) for part in (order[:5], order[5:])]
  merged = {name: parts[0][name].merge(parts[1][name]) for name in whole}
  for found in (_means(_rows(batch, order)), merged):
    shown, expected = map(epistemic.mean_values, (found, whole))
    assert shown.keys() == expected.keys()
    for name, value in expected.items():
      np.testing.assert_allclose(shown[name], value, err_msg=name)


# -------------------------------------------------------- against the start


def test_changes_since_step_0():
  now, first = _metrics(), epistemic.text_metrics(
    ["wait"] * 2, [10, 10], [1, 1], ("wait",)
  )  # fmt: skip
  found = epistemic.delta_vs_step0(now, first)
  prefix = "epistemic/delta_vs_step0/"
  np.testing.assert_allclose(found[f"{prefix}count_mean"], 1 / 3)
  np.testing.assert_allclose(found[f"{prefix}count_mean/correct"], 1.0)
  # Step 0 had no wrong response and counted no "maybe".
  assert f"{prefix}count_mean/incorrect" not in found
  assert f"{prefix}word/maybe" not in found
  assert not any("num_" in name or "length" in name for name in found)
  # Nothing is compared twice.
  assert epistemic.delta_vs_step0(now | found, first | found) == found


def test_a_first_step_without_markers_is_worth_a_word():
  assert epistemic.marker_warning(_metrics(), _SDD10) is None
  assert epistemic.marker_warning({}, _SDD10) is None
  silent = epistemic.text_metrics(["so"], [1], [1], ("wait", "hmm"))
  warning = epistemic.marker_warning(silent, ("wait", "hmm"))
  assert "any_frac is 0 at step 0" in warning and "wait, hmm" in warning
