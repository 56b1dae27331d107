"""What a report says in words and figures."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlvr_jax import diff
from rlvr_jax import summary as summary_lib
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.diagnosis import table
from rlvr_jax.reporting import markup
from rlvr_jax.reporting import source as source_lib


def header(source: source_lib.Source) -> str:
  """What run this is, and how far it has got."""
  config, lines = source.config, source.lines
  data = config.get("data", {})
  task = " ".join(filter(None, (data.get("name"), data.get("variant"))))
  generated = lines[-1].get("rollout/total_tokens", 0) if lines else 0
  return f"<h1>{markup.escaped(source.name)}</h1>" + markup.facts(
    [
      ("Task", task),
      ("Method", source_lib.method(config)),
      ("Seed", config.get("seed")),
      ("State", source_lib.state(source)),
      ("Generated tokens", f"{generated:,}"),
    ]
  )


def results(sources: Mapping[str, source_lib.Source]) -> str:
  """Held-out figures before and after, then those of the other runs."""
  (_, first), *others = sources.items()
  found = source_lib.summary(first)
  if not found:
    return markup.note("Nothing has been evaluated yet.")
  heading, *rows = summary_lib.rows(found)
  heading, rows = list(heading), [list(row) for row in rows]
  for name, source in others:
    theirs = source_lib.summary(source) or {"after": {}}
    heading.append(f"{name}, after")
    for measure, row in zip(
      summary_lib.measures(found["before"]), rows, strict=True
    ):
      row.append(summary_lib.with_error(theirs["after"], measure))
  return markup.table(heading, rows, "figures") + markup.note(
    summary_lib.note(found)
  )


def doctor(source: source_lib.Source) -> str:
  """What looks sick, and what to turn."""
  found = source_lib.diagnoses(source)
  if found is None:
    return markup.note("There is no step to look at yet.")
  if not found:
    return markup.note(f"Nothing found, of {len(table.TABLE)} causes known.")
  return "".join(_diagnosis(diagnosis) for diagnosis in found)


def _diagnosis(diagnosis: table.Diagnosis) -> str:
  listed = lambda texts: "".join(f"<li>{markup.escaped(x)}</li>" for x in texts)
  parts = [
    f"<h3>{markup.escaped(diagnosis.name)}: {markup.escaped(diagnosis.says)}"
    "</h3>",
    f"<ul>{listed(diagnosis.evidence)}</ul>",
    f"<p>Turn</p><ul>{listed(diagnosis.turns)}</ul>",
    f"<p>Or else: {markup.escaped(diagnosis.otherwise)}.</p>",
  ]
  if diagnosis.signs:
    seen = ", ".join(diagnosis.signs)
    parts.append(f"<p>Seen in: {markup.escaped(seen)}.</p>")
  return f'<div class="found">{"".join(parts)}</div>'


def settings(sources: Mapping[str, source_lib.Source]) -> str:
  """The config, how it differs from other runs', and versions."""
  (name, first), *others = sources.items()
  flat = workdir_lib.flat(first.config)
  rows = [(key, repr(value)) for key, value in sorted(flat.items())]
  parts = [
    markup.folded(
      f"All {len(rows)} settings", markup.table(("setting", "value"), rows)
    )
  ]
  for other, source in others:
    parts.append(f"<h3>Differences to {markup.escaped(other)}</h3>")
    found = diff.differences(first.config, source.config)
    parts.append(
      markup.table(("setting", name, other), found)
      if found
      else markup.note("No setting differs.")
    )
  parts.append("<h3>Versions</h3>")
  parts.append(_versions(first.versions))
  return "".join(parts)


def _versions(starts: Sequence[tuple[int, Mapping[str, Any]]]) -> str:
  """With what the run was computed, a column for each start that differed."""
  if not starts:
    return markup.note("The run's folder does not say with what it was made.")
  names = dict.fromkeys(name for _, found in starts for name in found)
  heads = [f"from step {step}" for step, _ in starts]
  rows = [
    (name, *(str(found.get(name, "")) for _, found in starts)) for name in names
  ]
  return markup.table(("", *heads), rows)
