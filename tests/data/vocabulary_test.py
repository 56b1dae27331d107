"""Texts and token ids, there and back."""

import pytest

from rlvr_jax import errors
from rlvr_jax.data import vocabulary

_V = vocabulary.ARITHMETIC


@pytest.mark.parametrize(
  "text", ["6-1=5,5+6=11", r"\frac{3}{4}*(1-2)^2", "1 2:3>"]
)
def test_round_trip(text):
  assert _V.decode(_V.encode(text)) == text


def test_the_docstring_example_is_true():
  assert _V.encode("6-1=5") == (8, 13, 3, 16, 7)


def test_the_longest_symbol_wins():
  assert _V.encode(r"\frac") == (_V.id(r"\frac"),)


def test_decoding_stops_at_the_end_token_and_shows_pads_before_it():
  assert _V.decode([8, _V.pad_id, 13, _V.eos_id, 3]) == "6<pad>-"


def test_symbols_are_distinct_and_fit_the_recipe():
  assert len(set(_V.symbols)) == len(_V.symbols) == 32


def test_the_second_vocabulary_keeps_the_ids_of_the_first():
  logic = vocabulary.LOGIC
  assert logic.symbols[:32] == _V.symbols
  assert len(set(logic.symbols)) == len(logic.symbols) == 43
  assert (logic.pad_id, logic.eos_id) == (_V.pad_id, _V.eos_id)
  text = "A:!(3<2);F:T&F;7%2=1>"
  assert logic.decode(logic.encode(text)) == text


def test_a_foreign_character_is_refused():
  with pytest.raises(errors.UserError, match="'x' of '1x' is not in"):
    _V.encode("1x")
