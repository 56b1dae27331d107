r"""Answers that equal a gold in another form, and answers that nearly do.

Every function takes a `golds.Gold` of a known kind and works on its value, so
that what it says of an answer is arithmetic. A form that a gold has not (an
integer below 1000 has no thousands separator) is left out.
"""

from collections.abc import Callable
from fractions import Fraction

from rlvr_jax.verifiers import golds

_Forms = dict[str, str | None]


def equivalent(gold: golds.Gold) -> dict[str, str]:
  r"""Right answers by the name of their form; none for golds of other kinds.

  Example: of \frac{3}{4}, among others {"decimal": "0.75", "slash": "3/4"}.
  """
  return _existing(_EQUIVALENT, gold)


def near_misses(gold: golds.Gold) -> dict[str, str]:
  r"""Wrong answers by the name of the mistake; none for golds of other kinds.

  Example: of (1, 2), among others {"reversed": "(2, 1)"}.
  """
  return _existing(_NEAR_MISS, gold)


def decoy(gold: golds.Gold) -> str:
  """A wrong answer for any gold."""
  found = near_misses(gold)
  return next(iter(found.values())) if found else "-98765"


def _existing(
  forms: dict[str, Callable[[golds.Gold], _Forms]], gold: golds.Gold
) -> dict[str, str]:
  if gold.kind not in forms:
    return {}
  named = forms[gold.kind](gold)
  return {name: text for name, text in named.items() if text is not None}


def _number_forms(gold: golds.Gold) -> _Forms:
  """Forms that integers, fractions and decimals share."""
  value = Fraction(gold.value)
  decimal = golds.decimal_text(value)
  top, bottom = abs(value.numerator), value.denominator
  sign = "-" if value < 0 else ""
  return {
    "assignment": f"x = {gold.text}",
    "unit": rf"{gold.text}\text{{ cm}}",
    "sum": rf"{golds.fraction_text(value - 1)} + 1",
    "unreduced": rf"{sign}\frac{{{2 * top}}}{{{2 * bottom}}}",
    "slash": f"{sign}{top}/{bottom}" if bottom > 1 else None,
    "zeros_after": None
    if decimal is None
    else f"{decimal}{'0' if '.' in decimal else '.0'}",
  }


def _same_integer(gold: golds.Gold) -> _Forms:
  size, sign = abs(gold.value), "-" if gold.value < 0 else ""
  large = size >= 1000
  digits = str(size)
  power = len(digits) - 1
  mantissa = golds.decimal_text(Fraction(size, 10**power))
  return _number_forms(gold) | {
    "text_font": rf"\text{{{gold.text}}}",
    "zero_before": f"{sign}0{size}",
    "thousands_comma": f"{sign}{size:,}" if large else None,
    "thousands_brace": sign + f"{size:,}".replace(",", "{,}")
    if large
    else None,
    "scientific": rf"{sign}{mantissa} \times 10^{{{power}}}" if large else None,
  }


def _same_fraction(gold: golds.Gold) -> _Forms:
  value = gold.value
  top, bottom = abs(value.numerator), value.denominator
  sign = "-" if value < 0 else ""
  decimal = golds.decimal_text(value)
  percent = golds.decimal_text(100 * value)
  whole, rest = divmod(top, bottom)
  mixed = whole > 0 and rest > 0 and value > 0
  return _number_forms(gold) | {
    "dfrac": rf"{sign}\dfrac{{{top}}}{{{bottom}}}",
    "tfrac": rf"{sign}\tfrac{{{top}}}{{{bottom}}}",
    "short_frac": rf"{sign}\frac{top}{bottom}"
    if max(top, bottom) < 10
    else None,
    "sign_inside": rf"\frac{{-{top}}}{{{bottom}}}" if value < 0 else None,
    "mixed": rf"{whole}\frac{{{rest}}}{{{bottom}}}" if mixed else None,
    "decimal": decimal,
    "percent": rf"{percent}\%" if decimal and percent else None,
  }


def _same_decimal(gold: golds.Gold) -> _Forms:
  small = abs(gold.value) < 1
  return _number_forms(gold) | {
    "text_font": rf"\text{{{gold.text}}}",
    "fraction": golds.fraction_text(gold.value),
    "no_zero": gold.text.replace("0.", ".", 1) if small else None,
    "percent": rf"{golds.decimal_text(100 * gold.value)}\%",
  }


def _same_percent(gold: golds.Gold) -> _Forms:
  number = golds.decimal_text(gold.value)
  return {
    "sign_bare": f"{number}%",
    "sign_apart": rf"{number} \%",
    "word": rf"{number} \text{{ percent}}",
    "decimal": golds.decimal_text(gold.value / 100),
    "fraction": golds.fraction_text(gold.value / 100),
    "assignment": f"x = {gold.text}",
  }


def _same_radical(gold: golds.Gold) -> _Forms:
  factor, radicand = gold.value
  sign, size = "-" if factor < 0 else "", abs(factor)
  return {
    "under_root": rf"{sign}\sqrt{{{size**2 * radicand}}}",
    "short_sqrt": rf"{factor}\sqrt {radicand}" if radicand < 10 else None,
    "times": rf"{factor} \cdot \sqrt{{{radicand}}}",
    "power": rf"{factor} \cdot {radicand}^{{1/2}}",
    "over_root": rf"{sign}\frac{{{size * radicand}}}{{\sqrt{{{radicand}}}}}",
    "assignment": f"x = {gold.text}",
  }


def _same_tuple(gold: golds.Gold) -> _Forms:
  listed = ", ".join(map(str, gold.value))
  return {
    "left_right": rf"\left({listed}\right)",
    "tight": f"({listed.replace(' ', '')})",
    "assignment": f"P = {gold.text}",
  }


def _same_interval(gold: golds.Gold) -> _Forms:
  left, low, high, right = gold.value
  below = "<" if left == "(" else r"\le"
  above = "<" if right == ")" else r"\le"
  inequality = f"{low} {below} x {above} {high}"
  if low == r"-\infty":
    inequality = f"x {above} {high}"
  elif high == r"\infty":
    inequality = rf"x > {low}" if left == "(" else rf"x \ge {low}"
  return {
    "left_right": rf"\left{left}{low}, {high}\right{right}",
    "tight": f"{left}{low},{high}{right}",
    "membership": rf"x \in {gold.text}",
    "inequality": inequality,
  }


def _same_set(gold: golds.Gold) -> _Forms:
  backwards = [str(member) for member in reversed(gold.value)]
  return {
    "reordered": rf"\{{{', '.join(backwards)}\}}",
    "left_right": rf"\left\{{{', '.join(map(str, gold.value))}\right\}}",
    "listed": ", ".join(backwards),
    "listed_with_and": rf"{', '.join(backwards[:-1])} \text{{ and }}"
    rf" {backwards[-1]}"
    if len(backwards) > 1
    else None,
    "member_twice": rf"\{{{', '.join([backwards[0], *backwards])}\}}",
  }


def _same_polynomial(gold: golds.Gold) -> _Forms:
  terms = gold.value
  halves = {power: 2 * coefficient for power, coefficient in terms.items()}
  return {
    "reordered": golds.polynomial_text(dict(reversed(terms.items()))),
    "times": golds.polynomial_text(terms, times=r" \cdot "),
    "tight": gold.text.replace(" ", ""),
    "over_two": rf"\frac{{{golds.polynomial_text(halves)}}}{{2}}",
    "in_parentheses": rf"\left({gold.text}\right)",
  }


def _wrong_number(gold: golds.Gold) -> _Forms:
  """Mistakes that integers, fractions and decimals share."""
  value = Fraction(gold.value)
  written = golds.fraction_text
  if gold.kind == "decimal":
    written = golds.decimal_text
  return {
    "off_by_one": written(value + 1),
    "sign_flipped": written(-value) if value else None,
    "ten_times": written(10 * value) if value else None,
    "reciprocal": golds.fraction_text(1 / value)
    if value not in (0, 1, -1)
    else None,
  }


def _wrong_integer(gold: golds.Gold) -> _Forms:
  digits = str(abs(gold.value))
  sign = "-" if gold.value < 0 else ""
  swapped = digits[:-2] + digits[-1:] + digits[-2:-1]
  return _wrong_number(gold) | {
    "digit_dropped": sign + digits[:-1] if len(digits) > 1 else None,
    "digits_swapped": sign + swapped if int(swapped) != int(digits) else None,
  }


def _wrong_fraction(gold: golds.Gold) -> _Forms:
  value = gold.value
  top, bottom = value.numerator, value.denominator
  endless = golds.decimal_text(value) is None
  return _wrong_number(gold) | {
    "numerator_off": golds.fraction_text(Fraction(top + 1, bottom)),
    "denominator_off": golds.fraction_text(Fraction(top, bottom + 1))
    if top
    else None,
    "rounded_to_2": f"{float(value):.2f}" if endless else None,
    "rounded_to_4": f"{float(value):.4f}" if endless else None,
  }


def _wrong_decimal(gold: golds.Gold) -> _Forms:
  places = len(gold.text.partition(".")[2])
  last = Fraction(1, 10**places)
  cut = Fraction(int(gold.value / last / 10) * 10) * last
  return _wrong_number(gold) | {
    "last_digit_off": golds.decimal_text(gold.value + last),
    "last_digit_dropped": golds.decimal_text(cut)
    if cut != gold.value
    else None,
    "point_moved": golds.decimal_text(gold.value / 10) if gold.value else None,
  }


def _wrong_percent(gold: golds.Gold) -> _Forms:
  value = gold.value
  percent = lambda number: rf"{golds.decimal_text(number)}\%"
  return {
    "off_by_one": percent(value + 1),
    "ten_times": percent(10 * value) if value else None,
    "hundredth": percent(value / 100) if value else None,
    "sign_flipped": percent(-value) if value else None,
    "complement": percent(100 - value) if value != 50 else None,
  }


def _wrong_radical(gold: golds.Gold) -> _Forms:
  factor, radicand = gold.value
  written = lambda a, b: rf"{a}\sqrt{{{b}}}"
  real = factor != 0 and radicand > 1
  return {
    "coefficient_off": written(factor + 1, radicand) if real else None,
    "radicand_off": written(factor, radicand + 1) if real else None,
    "sign_flipped": written(-factor, radicand) if real else None,
    "root_dropped": str(factor * radicand) if real else None,
    "coefficient_dropped": rf"\sqrt{{{radicand}}}"
    if real and factor != 1
    else None,
    "exchanged": written(radicand, factor)
    if real and factor > 0 and factor != radicand
    else None,
  }


def _wrong_tuple(gold: golds.Gold) -> _Forms:
  members = gold.value
  written = lambda numbers: f"({', '.join(map(str, numbers))})"
  return _wrong_members(members, written) | {
    "reversed": written(members[::-1]) if members[::-1] != members else None,
  }


def _wrong_set(gold: golds.Gold) -> _Forms:
  members = tuple(sorted(set(gold.value)))
  return _wrong_members(
    members, lambda numbers: rf"\{{{', '.join(map(str, numbers))}\}}"
  )


def _wrong_members(
  members: tuple[int, ...], written: Callable[[tuple[int, ...]], str]
) -> _Forms:
  """Mistakes that tuples and sets share."""
  negative = tuple(-member for member in members)
  # Beyond all members, so that no set has it already.
  more = max(members) + 1
  return {
    "member_off": written((*members[:-1], more)),
    "member_missing": written(members[:-1]) if len(members) > 1 else None,
    "member_extra": written((*members, more)),
    "sign_flipped": written(negative)
    if sorted(negative) != sorted(members)
    else None,
  }


def _wrong_interval(gold: golds.Gold) -> _Forms:
  left, low, high, right = gold.value
  other = {"[": "(", "(": "[", "]": ")", ")": "]"}
  below, above = (not end.endswith("infty") for end in (low, high))
  return {
    "high_off": f"{left}{low}, {int(high) + 1}{right}" if above else None,
    "low_off": f"{left}{int(low) - 1}, {high}{right}" if below else None,
    "left_flipped": f"{other[left]}{low}, {high}{right}" if below else None,
    "right_flipped": f"{left}{low}, {high}{other[right]}" if above else None,
    "high_unbounded": rf"{left}{low}, \infty)" if above else None,
  }


def _wrong_polynomial(gold: golds.Gold) -> _Forms:
  terms = gold.value
  first, *others = terms
  written = golds.polynomial_text
  factor = terms[first] + (1 if terms[first] != -1 else 2)
  negative = {power: -coefficient for power, coefficient in terms.items()}
  constant = terms.get(0, 0) + 1
  shifted = {power: x for power, x in terms.items() if power != 0}
  raised = {max(terms) + 1: terms[first]}
  return {
    "constant_off": written(shifted | ({0: constant} if constant else {})),
    "coefficient_off": written(terms | {first: factor}),
    "sign_flipped": written(negative),
    "power_off": written(raised | {power: terms[power] for power in others}),
    "term_dropped": written({power: terms[power] for power in others})
    if others
    else None,
    "renamed": written(terms, name="y"),
  }


_EQUIVALENT = {
  "integer": _same_integer,
  "fraction": _same_fraction,
  "decimal": _same_decimal,
  "percent": _same_percent,
  "radical": _same_radical,
  "tuple": _same_tuple,
  "interval": _same_interval,
  "set": _same_set,
  "polynomial": _same_polynomial,
}
_NEAR_MISS = {
  "integer": _wrong_integer,
  "fraction": _wrong_fraction,
  "decimal": _wrong_decimal,
  "percent": _wrong_percent,
  "radical": _wrong_radical,
  "tuple": _wrong_tuple,
  "interval": _wrong_interval,
  "set": _wrong_set,
  "polynomial": _wrong_polynomial,
}
