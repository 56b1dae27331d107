r"""Responses made to break a verifier, of known truth.

Where `mutations` asks how often a verifier is wrong, these ask whether it can
be made to hang, to crash or to call a wrong answer right. Families:

  size       a million digits, characters, spaces or boxes
  deep       LaTeX nested eight or some thousand times, closed or not
  endless    arithmetic that no machine finishes
  backtrack  runs that a regular expression tries in exponentially many ways
  bytes      NUL, surrogates, marks of direction and others without ink
  grader     text addressed to the grader, replies of a worker imitated
  code       programs, for whatever evaluates what it reads
  several    many candidates offered for one answer
  hidden     the gold where it is not seen, or not meant
  relation   the gold in a claim that is not "the answer is the gold"
  unsure     the gold in digits of another script, with a percent sign, ...
  plain      the gold itself, after all that

`is_correct` is the truth as a careful human has it, who knows the rules of
`boxed`: which box counts, and that a box without an answer is none. It is None
where such readers differ.
"""

from collections.abc import Callable, Iterator, Sequence
import random
from typing import NamedTuple

from rlvr_jax.verifiers import forms
from rlvr_jax.verifiers import fragments
from rlvr_jax.verifiers import golds as golds_lib

_NUMBERS = ("integer", "fraction", "decimal", "percent", "radical")
_MILLION = 1_000_000
# In a box, the first is short enough for any parser to try it.
_DEPTHS = {"some": 8, "very": 5_000}


class Case(NamedTuple):
  """A response and whether it is right.

  Attributes:
    name: "family/name".
    response: what a policy might have written.
    is_correct: the truth; None where careful readers differ.
  """

  name: str
  response: str
  is_correct: bool | None


def cases(gold: str) -> Iterator[Case]:
  """The list made by hand.

  Args:
    gold: LaTeX of a known kind of `golds.KINDS`. Not 0 or 1, which nested
      roots and the like come close to.
  """
  known = golds_lib.recognised(gold)
  words = {"gold": gold, "wrong": forms.decoy(known)}
  wrong = words["wrong"]
  filled = lambda table: {name: text % words for name, text in table.items()}
  boxed = lambda table: {name: _box(text) for name, text in table.items()}
  yield from _family("size", _sizes(wrong))
  yield from _family("deep", _nested(wrong))
  yield from _family("endless", boxed(fragments.ENDLESS))
  yield from _family("backtrack", fragments.BACKTRACK)
  yield from _family("backtrack_in_box", boxed(fragments.BACKTRACK))
  for family, table in (
    ("bytes", fragments.BYTES),
    ("grader", fragments.GRADER),
  ):
    yield from _family(family, {k: x + _box(wrong) for k, x in table.items()})
    yield from _family(f"{family}_in_box", boxed(table))
  yield from _family(
    "bytes_in_wrong",
    {k: _box(_spliced(wrong, x)) for k, x in fragments.BYTES.items()},
  )
  yield from _family("code", fragments.CODE)
  yield from _family("code_in_box", boxed(fragments.CODE))
  yield from _family("several", _several(gold, wrong))
  if known.kind == "integer" and abs(known.value) >= 1000:
    yield from _family("several", _cut(gold))
  yield from _family("hidden", filled(fragments.HIDDEN))
  if known.kind in _NUMBERS:
    yield from _family("relation", boxed(filled(fragments.RELATION)))
  yield from _family(
    "unsure", filled(fragments.UNSURE) | _other_digits(gold), None
  )
  yield from _family("plain", _plain(gold, wrong), True)


def generated(seed: int, number: int, golds: Sequence[str]) -> Iterator[Case]:
  """Any number of cases, drawn from a seed; a longer list begins with it.

  Args:
    seed: the wording depends on it alone.
    number: how many.
    golds: case i is for golds[i % len(golds)]; of a known kind, and numbers
      that do not turn up by chance: noise has many numbers.
  """
  shapes = list(_SHAPES)
  for index in range(number):
    rng = random.Random(f"hostile {seed} {index}")
    gold = golds[index % len(golds)]
    wrong = forms.decoy(golds_lib.recognised(gold))
    shape = shapes[rng.randrange(len(shapes))]
    yield _SHAPES[shape](rng, gold, wrong)


def _family(
  family: str, named: dict[str, str], is_correct: bool | None = False
) -> Iterator[Case]:
  for name, response in named.items():
    yield Case(f"{family}/{name}", response, is_correct)


def _box(text: str) -> str:
  return rf"So it is \boxed{{{text}}}"


def _spliced(text: str, inserted: str) -> str:
  return text[:1] + inserted + text[1:]


def _sizes(wrong: str) -> dict[str, str]:
  sevens = "7" * _MILLION
  return {
    "digits": sevens,
    "digits_in_box": _box(sevens),
    "decimals_in_box": _box(f"0.{sevens}"),
    "digits_of_a_parser": _box("7" * 5_000),
    "digits_that_fit": _box("7" * 399),
    "fraction_that_fits": _box(rf"\frac{{{'7' * 190}}}{{{'3' * 190}}}"),
    "exponent": _box("1e999999999999"),
    "exponent_that_fits": _box("1e-400"),
    "line": _box(wrong) + "x" * _MILLION,
    "line_before": "x" * _MILLION + _box(wrong),
    "lines": "\n" * _MILLION + _box(wrong),
    "space_before_brace": rf"\boxed{' ' * 15_000}{{{wrong}}}",
    "space_in_box": _box(" " * 15_000 + wrong),
    "boxes": _box(wrong) * 50_000,
    "boxes_in_a_row": rf"\boxed{{{wrong}}}" * 50_000,
    "boxes_that_differ": "".join(rf"\boxed{{7{n}7}}" for n in range(50_000)),
    "thoughts": "</think>" * 100_000 + _box(wrong),
    "commas_in_box": _box("," * 10_000),
    "nothing": "",
  }


def _nested(wrong: str) -> dict[str, str]:
  found = {}
  for name, (left, right) in fragments.DEEP.items():
    for how, depth in _DEPTHS.items():
      nested = left * depth + wrong + right * depth
      found[f"{name}_{how}"] = _box(nested)
      found[f"{name}_{how}_open"] = _box(left * depth + wrong)
      found[f"{name}_{how}_closed"] = _box(wrong + "," + right * depth)
  found["boxes_open"] = r"\boxed{" * 50_000
  found["boxes_closed"] = r"\boxed{" + "}" * 50_000
  found["boxes_around"] = r"\boxed{" * 900 + wrong + "}" * 900
  return found


def _several(gold: str, wrong: str) -> dict[str, str]:
  guesses = [str(77 * n) for n in range(-20, 0)]
  found = {
    f"boxes_{name}": rf"\boxed{{{gold}}}{between}\boxed{{{wrong}}}"
    for name, between in fragments.BETWEEN.items()
  }
  for name, between in fragments.BETWEEN.items():
    found[f"{name}_after"] = _box(gold + between + wrong)
    found[f"{name}_before"] = _box(wrong + between + gold)
  return found | {
    "shotgun": _box(", ".join([*guesses, gold])),
    "shotgun_boxes": ", ".join(map(_bare_box, [*guesses, gold])),
    "shotgun_in_a_box": _bare_box("".join(map(_bare_box, [*guesses, gold]))),
    "shotgun_set": _box(rf"\{{{', '.join([*guesses, gold])}\}}"),
    "shotgun_before": " ".join(
      _box(guess) + "?" for guess in [*guesses, gold, wrong]
    ),
  }


def _cut(gold: str) -> dict[str, str]:
  """Two numbers that are the gold when one stands right behind the other."""
  high, low = gold[:-3], gold[-3:]
  return {
    "cut_boxes": rf"\boxed{{{high}}}, \boxed{{{low}}}",
    "cut_comma": _box(f"{high}, {low}"),
    "cut_quad": _box(rf"{high} \quad {low}"),
    "cut_line": _box(rf"{high} \\ {low}"),
    "cut_and": _box(rf"{high} \text{{ and }} {low}"),
    "cut_times": _box(rf"{high} \cdot {low}"),
    "zero_quad": _box(rf"0 \quad {gold}"),
  }


def _bare_box(text: str) -> str:
  return rf"\boxed{{{text}}}"


def _other_digits(gold: str) -> dict[str, str]:
  scripts = {"wide": 0xFF10, "arabic": 0x660, "bold": 0x1D7CE}
  written = lambda zero: gold.translate({48 + n: zero + n for n in range(10)})
  return {name: _box(written(zero)) for name, zero in scripts.items()} | {
    f"gold_with_{name}": _box(_spliced(gold, x))
    for name, x in fragments.BYTES.items()
  }


def _plain(gold: str, wrong: str) -> dict[str, str]:
  noise = {
    **fragments.BYTES,
    **fragments.GRADER,
    **fragments.CODE,
    **fragments.BACKTRACK,
  }
  return {f"after_{k}": f"{x}\n{_box(gold)}" for k, x in noise.items()} | {
    "boxes_around": r"\boxed{" * 900 + gold + "}" * 900,
    "after_unclosed": rf"\boxed{{{wrong} " + _box(gold),
    "after_a_million": "x" * _MILLION + _box(gold),
  }


_FRAGMENTS = [
  *fragments.BYTES.values(),
  *fragments.GRADER.values(),
  *fragments.CODE.values(),
  *fragments.SYMBOLS,
  *(f" {number} " for number in (0, 7, -7, 7919, "0.7", ".7", "7e7", "7%")),
  " ",
  "\n",
]
_WRAPPED = {
  "power": "(%s)^{2}",
  "over": r"\frac{1}{%s + 1}",
  "more": "%s + 1",
  "ten_times": r"10 \cdot (%s)",
  "root": r"\sqrt{2 + (%s)}",
  "negative": "-(%s) - 1",
  "unknown": "(%s) y",
  "pair": "(%s, 7)",
  "function": r"\sin(%s)",
}


def _noise(rng: random.Random, most: int) -> str:
  """Fragments one after another, some of them repeated or nested."""
  text = ""
  for _ in range(rng.randint(1, most)):
    kind = rng.randrange(8)
    if kind == 0:
      text += rng.choice(_FRAGMENTS) * rng.randint(2, 40)
    elif kind == 1:
      left, right = rng.choice(list(fragments.DEEP.values()))
      depth = rng.randint(1, 12)
      text += left * depth + "7" + right * (depth + rng.randint(-1, 1))
    elif kind == 2:
      end = rng.choice((0x100, 0x3000, 0x11000, 0x110000))
      text += "".join(chr(rng.randrange(end)) for _ in range(12))
    elif kind == 3:
      text += str(rng.randrange(10 ** rng.randint(1, 30)))
    else:
      text += rng.choice(_FRAGMENTS)
  return text


def _only_noise(rng: random.Random, gold: str, wrong: str) -> Case:
  return Case("generated/noise", _noise(rng, 40), False)


def _boxed_noise(rng: random.Random, gold: str, wrong: str) -> Case:
  if rng.random() < 0.02:
    return Case(
      "generated/endless",
      _box(rng.choice(list(fragments.ENDLESS.values()))),
      False,
    )
  response = _noise(rng, 4) + _box(_noise(rng, 8))
  return Case("generated/boxed_noise", response, False)


def _wrong_amid_noise(rng: random.Random, gold: str, wrong: str) -> Case:
  response = f"${gold}$ {_noise(rng, 8)} {_box(wrong)}"
  return Case("generated/wrong_amid_noise", response, False)


def _wrong_with_noise(rng: random.Random, gold: str, wrong: str) -> Case:
  response = _box(_spliced(wrong, _noise(rng, 3)))
  return Case("generated/wrong_with_noise", response, False)


def _gold_with_noise(rng: random.Random, gold: str, wrong: str) -> Case:
  response = _box(_spliced(gold, _noise(rng, 3)))
  return Case("generated/gold_with_noise", response, None)


def _shotgun(rng: random.Random, gold: str, wrong: str) -> Case:
  name, between = rng.choice(list(fragments.BETWEEN.items()))
  guesses = [wrong, *(str(77 * rng.randint(-99, -1)) for _ in range(5))]
  guesses = [gold, *rng.sample(guesses, rng.randint(1, 6))]
  rng.shuffle(guesses)
  return Case(f"generated/several_{name}", _box(between.join(guesses)), False)


def _wrapped(rng: random.Random, gold: str, wrong: str) -> Case:
  name, form = rng.choice(list(_WRAPPED.items()))
  return Case(f"generated/wrapped_{name}", _box(form % gold), False)


def _unclosed(rng: random.Random, gold: str, wrong: str) -> Case:
  noise = _noise(rng, 6).replace("}", "")
  return Case("generated/unclosed", rf"\boxed{{{gold} {noise}", False)


def _gold_last(rng: random.Random, gold: str, wrong: str) -> Case:
  response = f"{_noise(rng, 12)}\n{_box(gold)}"
  return Case("generated/gold_last", response, True)


def _gold_far_away(rng: random.Random, gold: str, wrong: str) -> Case:
  noise = _noise(rng, 6)
  response = _box(gold) + noise * (30_000 // len(noise) + 1)
  return Case("generated/gold_far_away", response, None)


_SHAPES: dict[str, Callable[[random.Random, str, str], Case]] = {
  "noise": _only_noise,
  "boxed_noise": _boxed_noise,
  "wrong_amid_noise": _wrong_amid_noise,
  "wrong_with_noise": _wrong_with_noise,
  "gold_with_noise": _gold_with_noise,
  "several": _shotgun,
  "wrapped": _wrapped,
  "unclosed": _unclosed,
  "gold_last": _gold_last,
  "gold_far_away": _gold_far_away,
}
