r"""Which text is the answer, rule by rule."""

import pytest

from rlvr_jax import errors
from rlvr_jax.verifiers import boxed

_ANSWERS = [
  # Braces.
  (r"\boxed{5}", "5"),
  (r"\boxed{ 5 }", "5"),
  (r"\boxed {5}", "5"),
  ("\\boxed\n{5}", "5"),
  (r"\fbox{5}", "5"),
  (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
  (r"\boxed{\frac{\sqrt{a^{2}}}{\text{b}}}", r"\frac{\sqrt{a^{2}}}{\text{b}}"),
  (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
  (r"\boxed{\left\{ 1 \right.}", r"\left\{ 1 \right."),
  (r"\boxed{a \\ b}", r"a \\ b"),
  (r"} \boxed{5} {", "5"),
  (r"{ \boxed{5}", "5"),
  (r"\\boxed{5}", "5"),
  (r"\\boxed{\\frac{1}{2}\\%}", r"\frac{1}{2}\%"),
  (r"\\boxed{\\{1, 2\\}}", r"\{1, 2\}"),
  (r"so \\\boxed{a \\ b}", r"a \\ b"),
  # No braces.
  (r"\boxed 5", "5"),
  (r"\boxed 5.", "5"),
  (r"$\boxed 5$", "5"),
  (r"\(\boxed 5\)", "5"),
  (r"\boxed -12.5, so", "-12.5"),
  (r"\boxed\frac{1}{2}", r"\frac{1}{2}"),
  (r"\boxed12 cm", "12"),
  (r"\boxed\sqrt{\frac{1}{2}}+1, so", r"\sqrt{\frac{1}{2}}+1"),
  (r"{\boxed 5} and more", "5"),
  (r"\boxed{\boxed 5}", "5"),
  # No box at all.
  ("", None),
  ("5", None),
  ("boxed{5}", None),
  (r"\boxedup{5}", None),
  (r"give it in \boxed format", None),
  (r"give it in \boxed.", None),
  (r"\boxed", None),
  # The last one.
  (r"\boxed{1} so \boxed{2}", "2"),
  (r"\boxed{1} so \fbox{2}", "2"),
  (r"\boxed{4} + 1 = \boxed{5}", "5"),
  (r"\boxed{5}. I give it in \boxed as asked.", "5"),
  # One that holds no answer.
  (r"\boxed{}", ""),
  (r"\boxed{ }", ""),
  (r"\boxed{1}, so \boxed{}", ""),
  (r"\boxed{5", ""),
  (r"\boxed{1}, so \boxed{2", ""),
  (r"\boxed{1}, so \boxed{", ""),
  (r"\boxed{\frac{1}{2", ""),
  (r"\boxed{ I forgot to close, so \boxed{5}", "5"),
  # A list.
  (r"\boxed{1}, \boxed{2}", "1, 2"),
  (r"\boxed{1} and \boxed{2} or \boxed{3}", "1, 2, 3"),
  (r"$x = \boxed{1}$ or $x = \boxed{2}$", "1, 2"),
  (r"$x_1=\boxed{1}$, \quad $x_{2} = \boxed{2}$", "1, 2"),
  (r"\boxed{1} \text{ or } \boxed{2}", "1, 2"),
  ("\\boxed{1}\n\n\\boxed{2}", "1, 2"),
  (r"\boxed{5} \boxed{5}", "5"),
  (r"\boxed{0} so \boxed{1}, \boxed{2}", "1, 2"),
  (r"\boxed{1}, \boxed{}", ""),
  (r"\boxed{1}, \boxed{2", ""),
  # A box in a box.
  (r"\boxed{\boxed{5}}", "5"),
  (r"\boxed{x = \boxed{5}}", "x = 5"),
  (r"\boxed{\boxed{\fbox{5}}}", "5"),
  (r"\boxed{\boxed{1} \boxed{2}}", "1, 2"),
  (r"\boxed{1 \boxed{2} 3 \boxed{4}}", "2, 4"),
  (r"\boxed{\boxed{}}", ""),
  # Markup.
  ("```\nprint('\\boxed{4}')\n``` so \\boxed{5}", "5"),
  ("\\boxed{5}\n```\n\\boxed{4}\n```", "4"),
  ("> \\boxed{5}", "5"),
  ("% \\boxed{5}", "5"),
  # Thoughts.
  (r"<think>\boxed{1}</think> \boxed{2}", "2"),
  (r"<think>\boxed{1}</think> none", None),
  (r"\boxed{1}</think>\boxed{2}</think> none", None),
  (r"<think>\boxed{1}", "1"),
]


@pytest.mark.parametrize("response, answer", _ANSWERS)
def test_the_answer_of_a_response(response, answer):
  assert boxed.answer_text(response) == answer


def test_the_end_of_the_thoughts_is_a_setting():
  response = r"\boxed{1}</think> none. <answer> \boxed{2}"
  assert boxed.answer_text(response, think_end="") == "2"
  assert boxed.answer_text(response, think_end="<answer>") == "2"
  assert boxed.answer_text(r"\boxed{1}</think> none", think_end="") == "1"


def test_boxes_that_must_agree():
  answer = lambda response: boxed.answer_text(response, several="same")
  assert answer(r"\boxed{5}, as said: \boxed{ 5 }.") == "5"
  assert answer(r"\boxed{4}, rather: \boxed{5}.") == ""
  assert answer(r"\boxed{5}") == "5"
  assert answer("5") is None
  with pytest.raises(errors.UserError, match="several is 'lst'.*'last'"):
    boxed.answer_text("", several="lst")


def test_only_the_end_is_searched():
  response = r"\boxed{1}" + "x" * 100
  assert boxed.answer_text(response, tail_chars=109) == "1"
  assert boxed.answer_text(response, tail_chars=100) is None
  assert boxed.searched("a</think>bcd", tail_chars=2) == "cd"
  assert boxed.searched("a</think>bcd", tail_chars=0) == ""


def test_boxes_know_where_they_stand():
  text = r"a \boxed{1} b \boxed 2."
  found = boxed.boxes(text)
  assert [text[box.start : box.end] for box in found] == (
    [r"\boxed{1}", r"\boxed 2."]
  )
  assert boxed.boxes(r"\boxed{a \boxed{b}}") == [boxed.Box("a b", 0, 19)]


def test_deep_nesting_needs_no_stack():
  deep = r"\boxed{" * 5_000 + "5" + "}" * 5_000
  assert boxed.answer_text(deep, tail_chars=len(deep)) == "5"
  assert boxed.answer_text(r"\boxed{" * 5_000) == ""
