r"""The audit program: how often a verifier of texts is wrong, and on what.

python -m rlvr_jax.audit --verifier=math --num_prompts=1000

Makes responses of known truth from every gold (`verifiers.mutations`), has
them judged in a pool, and prints for each kind of response the share judged
wrongly: false positives among those that are wrong, false negatives among
those that are right. Golds are drawn from a seed, or read from a file of one
JSON object a line.

The intervals are Wilson's. A kind has one variant of a gold; for a whole group
they are too narrow, since the variants of a gold hang together.
"""

import collections
from collections.abc import Iterable, Sequence
import json
import pathlib
from typing import Any

from absl import flags

from rlvr_jax import errors
from rlvr_jax import launch
from rlvr_jax import outcomes
from rlvr_jax import settings
from rlvr_jax import summary
from rlvr_jax.analysis import injection
from rlvr_jax.metrics import writers
from rlvr_jax.verifiers import golds as golds_lib
from rlvr_jax.verifiers import mutations
from rlvr_jax.verifiers import pool as pool_lib

_DEFAULTS = pool_lib.PoolConfig()
_VERIFIER = flags.DEFINE_string(
  "verifier", _DEFAULTS.verifier, "Its short name, or module:function."
)
_OPTIONS = flags.DEFINE_string("options", "{}", "Its keywords, as JSON.")
_NUM_PROMPTS = flags.DEFINE_integer("num_prompts", 1000, "How many golds.")
_GOLDS = flags.DEFINE_string(
  "golds", None, "JSON lines to read golds from; default: drawn from --seed."
)
_ANSWER_KEY = flags.DEFINE_string("answer_key", "answer", "Key of the gold.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the golds and the wording.")
_NUM_WORKERS = flags.DEFINE_integer(
  "num_workers", _DEFAULTS.num_workers, "Worker processes."
)
_DEADLINE_SECS = flags.DEFINE_float(
  "deadline_secs", _DEFAULTS.deadline_secs, "For each response."
)
_OUT = flags.DEFINE_string("out", None, "JSON file to write the figures to.")

_NUM_EXAMPLES = 3
_RESPONSE_CHARS = 90


def main() -> None:
  """Audits the verifier of the flags."""
  config = pool_lib.PoolConfig(
    verifier=_VERIFIER.value,
    options=_options(_OPTIONS.value),
    num_workers=_NUM_WORKERS.value,
    deadline_secs=_DEADLINE_SECS.value,
    # What cannot be judged is a result here.
    max_unjudged_frac=1.0,
  )
  settings.require(
    _NUM_PROMPTS.value > 0,
    f"--num_prompts is {_NUM_PROMPTS.value}: set it above 0",
  )
  if _GOLDS.value is None:
    golds = golds_lib.generated(_NUM_PROMPTS.value, _SEED.value)
    where = None
  else:
    where = _GOLDS.value
    golds = read_golds(pathlib.Path(where), _ANSWER_KEY.value)
    golds = golds[: _NUM_PROMPTS.value]
  figures = {
    "verifier": config.verifier,
    "options": config.options,
    "deadline_secs": config.deadline_secs,
    "seed": _SEED.value,
  } | audit(config, golds, _SEED.value, where)
  print(table(figures))
  if _OUT.value:
    path = pathlib.Path(_OUT.value)
    path.parent.mkdir(parents=True, exist_ok=True)
    writers.write_json(path, figures)
    print(f"figures: {path}")


def read_golds(path: pathlib.Path, key: str) -> list[str]:
  """The golds of a file with one JSON object a line.

  Raises:
    errors.UserError: naming the first line that is no such object, or has no
      text or number under the key.
  """
  try:
    lines = path.read_text(encoding="utf-8").splitlines()
  except OSError as error:
    raise errors.UserError(
      f"--golds {path} cannot be read ({error.strerror}): give a file of JSON"
      " lines"
    ) from error
  golds = []
  for number, line in enumerate(lines, start=1):
    if not line.strip():
      continue
    try:
      row = json.loads(line)
    except ValueError as error:
      raise errors.UserError(
        f"{path} line {number} is not JSON: give one object a line"
      ) from error
    value = row.get(key) if isinstance(row, dict) else None
    settings.require(
      isinstance(value, (str, int, float)) and not isinstance(value, bool),
      f"{path} line {number} has no text under {key!r}: set --answer_key to"
      " the key of the gold",
    )
    golds.append(str(value))
  settings.require(bool(golds), f"--golds {path} is empty: give a gold a line")
  return golds


def audit(
  config: pool_lib.PoolConfig,
  golds: Sequence[str],
  seed: int,
  where: str | None = None,
) -> dict[str, Any]:
  """Judges all mutations of some golds.

  Args:
    config: of the pool.
    golds: right answers.
    seed: of the wording.
    where: the golds come from, for messages; None leaves out those that the
      verifier cannot read.

  Returns:
    {"num_golds": how many were read, "kinds": {"group/name": cell},
    "groups": {group: cell}, "secs": mean of a verdict}. A cell has count,
    unjudged (by outcome), judged, errors (how many of them were judged
    wrongly), rate (their share), low and high (its interval of 95 %), and up
    to three examples of errors.

  Raises:
    errors.UserError: naming the first gold that the verifier cannot read.
  """
  with pool_lib.Pool(config) as pool:
    if where is not None:
      pool_lib.check_golds(pool, golds, where)
    unread = pool_lib.unread_golds(pool, golds)
    golds = [gold for row, gold in enumerate(golds) if row not in unread]
    settings.require(
      bool(golds),
      f"verifier {config.verifier!r} reads none of the {len(unread)} golds:"
      " give it golds of its own with --golds",
    )
    variants = [
      (gold, variant)
      for gold in golds
      for variant in mutations.variants(gold, seed)
    ]
    verdicts = pool.verify(
      [(variant.response, gold) for gold, variant in variants]
    )
  kinds: dict[str, list] = collections.defaultdict(list)
  groups: dict[str, list] = collections.defaultdict(list)
  for (gold, variant), verdict in zip(variants, verdicts, strict=True):
    entry = (gold, variant, verdict)
    kinds[variant.kind].append(entry)
    groups[variant.kind.partition("/")[0]].append(entry)
  return {
    "num_golds": len(golds),
    "kinds": {kind: _cell(entries) for kind, entries in kinds.items()},
    "groups": {group: _cell(entries) for group, entries in groups.items()},
    "secs": sum(verdict.seconds for verdict in verdicts) / len(verdicts),
  }


def table(figures: dict[str, Any]) -> str:
  """The figures as aligned text, the errors of every kind below."""
  rows = [("kind", "count", "unjudged", "FP %", "FN %", "95 %")]
  for group, total in figures["groups"].items():
    rows.append(("", "", "", "", "", ""))
    rows += [
      _row(name.partition("/")[2], cell, group)
      for name, cell in figures["kinds"].items()
      if name.startswith(f"{group}/")
    ]
    rows.append(_row(group.upper(), total, group))
  lines = [
    f"verifier {figures['verifier']} {json.dumps(figures['options'])},"
    f" {figures['num_golds']} golds, seed {figures['seed']}, deadline"
    f" {figures['deadline_secs']} s, {1000 * figures['secs']:.1f} ms a verdict",
    "",
    *(x.rstrip() for x in summary.aligned(rows).splitlines()),
    "",
    "Errors, at most three of a kind:",
  ]
  for kind, cell in figures["kinds"].items():
    lines += [f"  {kind}: {_example(e)}" for e in cell["examples"]]
  return "\n".join(lines)


def _options(text: str) -> dict[str, Any]:
  try:
    options = json.loads(text)
  except ValueError:
    options = None
  settings.require(
    isinstance(options, dict),
    f"--options is {text!r}: give a JSON object, such as"
    """ '{"boxed_only": true}'""",
  )
  return options


def _cell(entries: Iterable[tuple]) -> dict[str, Any]:
  """What came of some variants."""
  entries = list(entries)
  unjudged = collections.Counter()
  mistaken, judged = [], 0
  for gold, variant, verdict in entries:
    if verdict.outcome in outcomes.UNJUDGED:
      unjudged[verdict.outcome] += 1
      continue
    judged += 1
    if (verdict.outcome == "correct") != variant.should_be_correct:
      mistaken.append((gold, variant, verdict))
  rate = len(mistaken) / max(judged, 1)
  low, high = injection.wilson_interval(rate, judged) if judged else (0.0, 1.0)
  return {
    "count": len(entries),
    "unjudged": dict(unjudged),
    "judged": judged,
    "errors": len(mistaken),
    "rate": rate,
    "low": low,
    "high": high,
    "examples": [
      {
        "gold": gold,
        "response": variant.response,
        "outcome": verdict.outcome,
        "answer": verdict.answer,
      }
      for gold, variant, verdict in mistaken[:_NUM_EXAMPLES]
    ],
  }


def _row(name: str, cell: dict[str, Any], group: str) -> tuple[str, ...]:
  rate = f"{100 * cell['rate']:.2f}" if cell["judged"] else "-"
  is_right = group == "equivalent"
  return (
    name,
    f"{cell['count']}",
    f"{sum(cell['unjudged'].values())}",
    "" if is_right else rate,
    rate if is_right else "",
    f"{100 * cell['low']:.2f} to {100 * cell['high']:.2f}",
  )


def _example(example: dict[str, Any]) -> str:
  response = example["response"].replace("\n", " ")
  if len(response) > _RESPONSE_CHARS:
    response = "..." + response[-_RESPONSE_CHARS:]
  return f"gold {example['gold']}  {example['outcome']}  {response}"


if __name__ == "__main__":
  launch.run(main)
