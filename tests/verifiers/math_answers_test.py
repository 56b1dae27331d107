r"""The verdicts of the wrapper are the library's, but where it reads less."""

import subprocess
import sys

import pytest

from tests.verifiers import pairs

math_verify = pytest.importorskip("math_verify")

from rlvr_jax.verifiers import math_answers  # noqa: E402

# Gold, response and our outcome, where the library's verdict is the other one.
_DIFFERENT = [
  # A box that holds no answer is not passed over.
  ("5", r"\boxed{} but 5", "unparsed"),
  ("5", r"\boxed{5 and 5", "unparsed"),
  # Only what follows the thoughts is searched, and only its end.
  ("5", r"<think> 5 </think> none", "unparsed"),
  ("5", "5" + " and so on" * 200, "unparsed"),
  # The last box is the answer, whatever stands around it.
  (
    "5",
    r"$\boxed{4}$. The final answer is $5$. I hope it is correct.",
    "wrong",
  ),
  ("5", r"\boxed{4} + 1 = \boxed{5}", "correct"),
  ("5", r"\boxed{4} is what I had, but now it is \boxed{5}.", "correct"),
  ("5", r"\fbox{5}", "correct"),
  # Six hours and no minutes is a division by zero.
  ("6:00", r"\boxed{6:00}", "gold_unparsed"),
]


def _library(response, gold):
  parse = lambda text: math_verify.parse(
    text, extraction_config=math_answers.EXTRACTION, parsing_timeout=None
  )
  return math_verify.verify(parse(gold), parse(response), timeout_seconds=None)


def test_the_verdicts_are_those_of_the_library():
  verdicts = []
  for gold, response in pairs.PAIRS:
    judged = math_answers.equivalent(response, f"${gold}$")
    verdicts.append(judged.outcome == "correct")
    told = (gold, response, judged)
    assert verdicts[-1] == _library(response, f"${gold}$"), told
    assert judged.outcome in ("correct", "wrong", "unparsed"), told
  assert len(verdicts) >= 200
  assert min(sum(verdicts), len(verdicts) - sum(verdicts)) >= 80


@pytest.mark.parametrize("gold, response, outcome", _DIFFERENT)
def test_where_the_verdicts_differ_it_is_meant(gold, response, outcome):
  assert math_answers.equivalent(response, gold).outcome == outcome
  assert _library(response, f"${gold}$") != (outcome == "correct")


@pytest.mark.parametrize(
  "gold",
  [
    r"2\sqrt{3}",
    r"$2\sqrt{3}$",
    r"\(2\sqrt{3}\)",
    r"So it is \boxed{4}, or rather \boxed{2\sqrt{3}}.",
    r"\boxed{2\sqrt{3}}",
    r"x = 2\sqrt{3}",
  ],
)
def test_a_gold_is_read_whole_however_it_is_written(gold):
  judge = lambda answer: (
    math_answers.equivalent(rf"\boxed{{{answer}}}", gold).outcome
  )
  assert judge(r"\sqrt{12}") == "correct"
  assert judge("2") == "wrong"


@pytest.mark.parametrize("gold", ["18", "$18", r"\$18"])
def test_a_price_is_a_number(gold):
  assert math_answers.equivalent(r"\boxed{18}", gold).outcome == "correct"


@pytest.mark.parametrize("gold", ["", " ", r"\frac{1}{0}", r"\boxed{}", "???"])
def test_a_gold_without_a_value_is_not_held_against_the_response(gold):
  for response in (r"\boxed{1}", "1", "", r"\boxed{???}"):
    judged = math_answers.equivalent(response, gold)
    assert judged.outcome == "gold_unparsed"


def test_the_answer_is_what_was_judged():
  answer = lambda response: math_answers.equivalent(response, "5").answer
  assert answer(r"\boxed{4} and so \boxed{ 10/2 }") == "10/2"
  assert answer("So it is $x = 5$.") == "x = 5"
  assert answer("It is $x = 5$, I think.") is None
  assert answer(r"\boxed{}") == ""
  assert answer("No idea.") is None


@pytest.mark.parametrize(
  ("prose", "is_told"),
  [
    ("The final answer is $5$. I hope it is correct.", True),
    ("Final answer: 5 apples", True),
    ("The answer is\n\\[\nx = 5\n\\]", True),
    ("She pays 1,250.50 dollars.", True),
    ("2 + 3 = 5", True),
    ("The answer is 4. No, the answer is 5.", True),
    ("I tried $5$, but it fails, so I have no answer.", False),
    ("The grader's reference is 5, which is wrong.", False),
    ("The answer is 5, which cannot be.", False),
    ("The answer is 5 or it is nothing of the kind.", False),
    ("Of 5 things none is the answer that we want here.", False),
    ("Is it 5?", False),
    ("The answer is unknown.", False),
    ("", False),
  ],
)
def test_prose_has_to_say_a_value_as_its_answer(prose, is_told):
  assert math_answers.is_told_as_answer(prose) == is_told
  if not is_told:
    assert math_answers.equivalent(prose, "5").outcome == "unparsed"


def test_a_box_can_be_required():
  judge = lambda response: (
    math_answers.equivalent(response, "5", boxed_only=True).outcome
  )
  assert judge("The answer is $5$.") == "unparsed"
  assert judge(r"The answer is $\boxed{5}$.") == "correct"


@pytest.mark.parametrize(
  "response",
  [
    r"\boxed{" * 150_000,
    r"\boxed{5" + "}" * 1_000_000,
    "1" * 1_000_000,
    r"\boxed{" + "1" * 1_000_000 + "}",
    "$1$," * 250_000,
    "(" * 1_000_000,
    r"\boxed{" + "(" * 501 + "}",
    "answer " * 150_000,
  ],
  ids=lambda response: response[:12],
)
def test_a_million_characters_are_no_trouble(response):
  judged = math_answers.equivalent(response, "7")
  assert judged.outcome in ("wrong", "unparsed")


def test_the_worker_of_the_library_imports_no_jax():
  check = (
    "from rlvr_jax.verifiers import worker\n"
    "judge = worker.load('math', {'boxed_only': True})\n"
    "assert judge(r'\\boxed{0.5}', '1/2').outcome == 'correct'\n"
    "import sys\n"
    "assert 'math_verify' in sys.modules and 'jax' not in sys.modules\n"
  )
  subprocess.run([sys.executable, "-c", check], check=True, timeout=60)


def test_the_boxed_verifier_reads_boxes_alone():
  for response, gold in (
    (r"\boxed{0.5}", "1/2"),
    (r"\boxed{0.6}", "1/2"),
    ("It is 0.5.", "1/2"),
  ):
    assert math_answers.equivalent_in_box(
      response, gold
    ) == math_answers.equivalent(response, gold, boxed_only=True)
