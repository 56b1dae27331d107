"""The verifier of filled equations says what its Python twin says."""

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax.data import math_path
from rlvr_jax.data import vocabulary
from rlvr_jax.rewards import math_path as rewards
from tests.rewards import twins

_V = vocabulary.LOGIC
_LENGTH, _WIDTH = 20, 16

# Text, template and outcome; None has no end token. The target is the right
# side of the template.
_HOSTILE = [
  ("#0+3*3=9", "?+3*?=9", "correct"),
  ("#9+3*0=9", "?+3*?=9", "correct"),
  ("2*3#1+1=2#6+3*1=9", "?+3*?=9", "correct"),
  ("<pad>#6+3*1=9", "?+3*?=9", "correct"),
  ("#6+3*2=9", "?+3*?=9", "wrong"),
  # It holds, with other visible digits, operators, orders or sides.
  ("#7+2*1=9", "?+3*?=9", "wrong"),
  ("#6+3/1=9", "?+3*?=9", "wrong"),
  ("#3*1+6=9", "?+3*?=9", "wrong"),
  ("#6+3*2=12", "?+3*?=9", "wrong"),
  ("#6+3*1=09", "?+3*?=9", "wrong"),
  ("#6+3*1=9=9", "?+3*?=9", "wrong"),
  ("#9=6+3*1", "?+3*?=9", "wrong"),
  ("#6+3*1", "?+3*?=9", "wrong"),
  ("#6+3*1=", "?+3*?=9", "wrong"),
  ("#6+3*1+0=9", "?+3*?=9", "wrong"),
  ("#-3+3*4=9", "?+3*?=9", "wrong"),
  ("#06+3*1=9", "?+3*?=9", "wrong"),
  ("#=+-*", "?+3*?=9", "wrong"),
  ("#6+3*1=9#9", "?+3*?=9", "wrong"),
  ("6+3*1=9", "?+3*?=9", "unparsed"),
  ("#6+3*1=9#", "?+3*?=9", "unparsed"),
  ("#6+3*1=9>", "?+3*?=9", "unparsed"),
  ("#6 +3*1=9", "?+3*?=9", "unparsed"),
  ("#?+3*?=9", "?+3*?=9", "unparsed"),
  ("#6+3*1=9<pad>", "?+3*?=9", "unparsed"),
  ("#6+3*T=9", "?+3*?=9", "unparsed"),
  ("#(6)+3*1=9", "?+3*?=9", "unparsed"),
  ("", "?+3*?=9", "unparsed"),
  ("#", "?+3*?=9", "unparsed"),
  # By zero, with a remainder, from the left.
  ("#0/0=0", "?/?=0", "wrong"),
  ("#0/7=0", "?/?=0", "correct"),
  ("#0%0=0", "?%?=0", "wrong"),
  ("#7/2*2=7", "7/?*?=7", "wrong"),
  ("#7/1*1=7", "7/?*?=7", "correct"),
  ("#7/2=3", "7/?=3", "wrong"),
  ("#1+7/0-1=0", "1+7/?-?=0", "wrong"),
  ("#8/4/2=1", "?/?/?=1", "correct"),
  ("#8/2/4*3=3", "8/?/?*?=3", "correct"),
  ("#7%4*2=6", "7%?*?=6", "correct"),
  ("#2*7%4=6", "2*?%?=6", "wrong"),
  # Below zero.
  ("#1-2*3=-5", "1-?*?=-5", "correct"),
  ("#1-3*2=-5", "1-?*?=-5", "correct"),
  ("#1-2*2=-5", "1-?*?=-5", "wrong"),
  ("#1-2*3=5", "1-?*?=-5", "wrong"),
  (None, "?+3*?=9", "truncated"),
]


@jax.jit
def _device(tokens, template, target):
  return rewards.equation_outcomes(
    completion_tokens=tokens, template=template, target=target
  )


def _encode(text, length=_LENGTH):
  return twins.encoded(text, _V, length, "#6")


def _padded(template, width=_WIDTH):
  ids = _V.encode(template)
  return (*ids, *[math_path.NO_SYMBOL] * (width - len(ids)))


def _target(template):
  return int(template.partition("=")[2])


def _judge(rows, templates, width=_WIDTH):
  outcomes = _device(
    jnp.asarray(rows, jnp.int32),
    jnp.asarray([_padded(t, width) for t in templates], jnp.int32),
    jnp.asarray([_target(t) for t in templates], jnp.int32),
  )
  return twins.names(outcomes)


def _twin(row, template):
  return rewards.equation_outcome_of_text(
    twins.text_of(row, _V), template, _target(template)
  )


def test_hostile_completions_are_judged_as_written_here():
  device = _judge(
    [_encode(text) for text, _, _ in _HOSTILE],
    [template for _, template, _ in _HOSTILE],
  )
  for (text, template, expected), ours in zip(_HOSTILE, device, strict=True):
    twin = rewards.equation_outcome_of_text(text, template, _target(template))
    assert (text, ours, twin) == (text, expected, expected)


def test_what_stands_behind_the_end_does_not_count():
  row = [*_V.encode("#1+1=2"), _V.eos_id, *_V.encode("#9+9=2"), _V.eos_id]
  assert _judge([row], ["?+?=2"]) == ["correct"]
  early = [*_V.encode("1+1=2"), _V.eos_id, *_V.encode("#1+1=2"), _V.eos_id]
  assert _judge([early], ["?+?=2"]) == ["unparsed"]


def test_an_answer_longer_than_the_completion_is_never_right():
  rows = [_encode("#1+", 4), [*_V.encode("#1+1")]]
  assert _judge(rows, ["?+?=2"] * 2) == ["wrong", "truncated"]


def test_the_largest_product_does_not_overflow():
  nines = "*".join("9" * math_path.MAX_DIGITS)
  template, width = f"?{nines[1:]}={9**9}", math_path.width(9)
  rows = [_encode(f"#{nines}={9**9}", 34), _encode(f"#8{nines[1:]}=1", 34)]
  assert _judge(rows, [template] * 2, width) == ["correct", "wrong"]


def test_every_filling_of_some_templates_agrees_with_python():
  for operators in ("/%", "*/", "-/", "%*", "/+", "//", "%%"):
    first, second = operators
    fillings = [
      f"{n // 100}{first}{n // 10 % 10}{second}{n % 10}" for n in range(1000)
    ]
    template = f"?{first}?{second}?=2"
    rows = [_encode(f"#{filling}=2") for filling in fillings]
    ours = _judge(rows, [template] * 1000)
    values = [math_path.value(filling) for filling in fillings]
    expected = ["correct" if v == 2 else "wrong" for v in values]
    assert ours == expected
    assert "correct" in ours


def test_twenty_thousand_random_completions_agree_with_the_twin():
  rng = np.random.default_rng(0)
  problems = math_path.problems(0, 5, 70, 2000, 1, 1)["train"]
  symbols = np.array([*_V.encode("#0123456789+-*/%=>"), _V.eos_id, _V.pad_id])
  digits = np.array(_V.encode("0123456789"))
  rows, templates = [], []
  for _ in range(20_000):
    problem = problems[rng.integers(len(problems))]
    ids = np.array(_V.encode(problem.demonstration))
    if rng.random() < 0.4:
      # Another filling, most often of no such value.
      hidden = np.array([symbol == "?" for symbol in "#" + problem.template])
      ids[hidden] = rng.choice(digits, hidden.sum())
    rows.append(
      twins.damaged(rng, ids, symbols, _V, _LENGTH, noise=0.1, most=2)
    )
    templates.append(problem.template)
  expected = list(map(_twin, rows, templates))
  twins.assert_agree(_judge(np.stack(rows), templates), expected)


def test_any_tokens_at_all_agree_with_the_twin():
  rng = np.random.default_rng(1)
  rows = rng.integers(0, len(_V.symbols), (2000, _LENGTH))
  templates = ["?+3*?=9"] * 2000
  for row, ours in zip(rows, _judge(rows, templates), strict=True):
    assert ours == _twin(row, "?+3*?=9")
