"""Rows of known data sets become problems; others are refused by name."""

import decimal

import pytest

from rlvr_jax import errors
from rlvr_jax.data import schemas

_CHAT = [
  {"role": "system", "content": "Think."},
  {"role": "user", "content": "1+1?"},
]
_MESSAGES = tuple(schemas.Message(**message) for message in _CHAT)


def _problem(row, name="", **keys):
  schema = schemas.schema_of(row, "f:1", name, **keys)
  return schemas.problem(row, schema, "f:1")


@pytest.mark.parametrize(
  "row, prompt, answer",
  [
    ({"question": "1+1?", "answer": "2"}, "1+1?", "2"),
    ({"problem": "1+1?", "answer": " 2 "}, "1+1?", "2"),
    # DeepScaleR and MATH-500.
    ({"problem": "1+1?", "answer": "2", "solution": "3"}, "1+1?", "2"),
    # AIME.
    ({"ID": "I-1", "Problem": "1+1?", "Answer": 2}, "1+1?", "2"),
    # MATH.
    (
      {"problem": "x?", "solution": r"\boxed{1} so \boxed{\frac{1}{\{2\}}}."},
      "x?",
      r"\frac{1}{\{2\}}",
    ),
    (
      {"problem": "x?", "solution": r"\boxed{\left\{1\right.}"},
      "x?",
      r"\left\{1\right.",
    ),
    # GSM8K.
    ({"question": "x?", "answer": "1<<2=3>>4\n#### 1,234"}, "x?", "1234"),
    ({"question": "x?", "answer": "#### (7) ####(1,2)"}, "x?", "(1,2)"),
    # DAPO-Math-17k, and what was made of it.
    (
      {"prompt": _CHAT, "reward_model": {"ground_truth": "2", "style": "r"}},
      _MESSAGES,
      "2",
    ),
    (
      {"prompt": "1+1?", "solution": "9", "reward_model": {"ground_truth": 2}},
      "1+1?",
      "2",
    ),
    ({"prompt": _CHAT, "answer": "2"}, _MESSAGES, "2"),
  ],
)
def test_known_schemas_are_found(row, prompt, answer):
  assert _problem(row) == schemas.Problem(prompt, answer, "f:1")


def test_a_schema_or_keys_can_be_given():
  row = {"question": "x?", "answer": "7 #### 8", "meta": {"gold": {"v": 9}}}
  assert _problem(row).answer == "8"
  assert _problem(row, "question").answer == "7 #### 8"
  given = _problem(row, prompt_key="question", answer_key="meta.gold.v")
  assert (given.prompt, given.answer) == ("x?", "9")
  assert _problem(row, answer_key="meta.gold.v").answer == "9"
  row = {"q": "x?", "a": "7 #### 8"}
  assert _problem(row, "gsm8k", prompt_key="q", answer_key="a").answer == "8"


def test_the_question_is_what_the_user_says_last():
  assert schemas.Problem("1+1?", "2", "").question == "1+1?"
  assert schemas.Problem(_MESSAGES, "2", "").question == "1+1?"


@pytest.mark.parametrize(
  "value, answer",
  [
    ("42", "42"),
    (42, "42"),
    (-7, "-7"),
    (10**30, "1" + "0" * 30),
    (42.0, "42"),
    (100.0, "100"),
    (0.0, "0"),
    (0.5, "0.5"),
    (0.1, "0.1"),
    (1e22, "1" + "0" * 22),
    (1e-7, "0.0000001"),
    (decimal.Decimal("1.50"), "1.5"),
    (decimal.Decimal("1E+2"), "100"),
    (["42"], "42"),
    ([42.0], "42"),
  ],
)
def test_answers_become_text(value, answer):
  assert _problem({"question": "x?", "answer": value}).answer == answer


@pytest.mark.parametrize(
  "row, message",
  [
    ({"question": "x?", "answer": True}, "f:1 has the answer True in 'answer'"),
    ({"question": "x?", "answer": ["1", "2"]}, r"the answer \['1', '2'\] in"),
    ({"question": "x?", "answer": []}, r"the answer \[\] in 'answer': give"),
    ({"question": "x?", "answer": {"a": 1}}, "the answer {'a': 1} in"),
    ({"question": "x?", "answer": float("nan")}, "the answer nan in"),
    ({"question": "x?", "answer": b"2"}, "the answer b'2' in"),
    ({"question": "x?", "answer": " "}, "answer '' in 'answer', without text"),
    (
      {"question": "x?", "answer": None},
      "f:1 has nothing in 'answer', and the",
    ),
    ({"question": " \n", "answer": "1"}, "an empty question in 'question'"),
    ({"question": 7, "answer": "1"}, "f:1 has 7 in 'question': give text, or"),
    ({"prompt": [], "answer": "1"}, r"f:1 has \[\] in 'prompt': give text"),
    ({"problem": "x?", "solution": "2"}, r"'2' in 'solution', without \\boxed"),
    ({"problem": "x?", "solution": r"\boxed{"}, r"without \\boxed"),
    ({"a": 1, "b": 2}, "f:1 has the keys a, b, which are of no known schema"),
    ({}, "which are of no known schema"),
    (
      {"prompt": _CHAT[:1], "answer": "1"},
      "a 'prompt' that ends with the role 'system'",
    ),
    (
      {"prompt": [{"role": "user"}], "answer": "1"},
      "the message {'role': 'user'} in 'prompt'",
    ),
    (
      {"prompt": [{"role": "user", "content": ["x"]}], "answer": "1"},
      "both text, and nothing else",
    ),
    (
      {"prompt": [{**_CHAT[1], "name": "me"}], "answer": "1"},
      "both text, and nothing else",
    ),
    ({"prompt": ["x"], "answer": "1"}, "the message 'x' in 'prompt'"),
  ],
)
def test_unusable_rows_are_one_sentence(row, message):
  with pytest.raises(errors.UserError, match=message) as found:
    _problem(row)
  assert "\n" not in str(found.value)
