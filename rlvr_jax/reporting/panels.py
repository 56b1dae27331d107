"""Which curves a report draws, of those that a run has."""

from collections.abc import Mapping

from rlvr_jax.metrics import curves
from rlvr_jax.metrics.curves import Panel
from rlvr_jax.metrics.curves import Series


def _split(metric: str, ends: tuple[str, str]) -> tuple[Series, ...]:
  """A measure of right responses and of wrong ones."""
  labels = ("right", "wrong")
  return tuple(
    Series(metric + end, label) for end, label in zip(ends, labels, strict=True)
  )


_ROLLOUT, _WORDS = ("_correct", "_wrong"), ("/correct", "/incorrect")
_RESPONSES = (
  Panel("length of responses (tokens)", _split("rollout/length", _ROLLOUT)),
  Panel("entropy (nats per token)", _split("rollout/entropy", _ROLLOUT)),
  Panel(
    "doubts per 1,000 tokens, training",
    _split("epistemic/marker_tokens_per_1k", _WORDS),
  ),
  Panel(
    "doubts per 1,000 tokens, held-out",
    _split("eval_words/epistemic/per_1k_tokens", _WORDS),
  ),
  Panel(
    "groups of one verdict",
    (
      Series("rollout/all_right_group_frac", "all right"),
      Series("rollout/all_wrong_group_frac", "all wrong"),
    ),
    top=1.0,
  ),
  Panel(
    "another domain, pass@1",
    (
      Series("ood/pass_at_1", "there"),
      Series("ood_minus_id", "less held-out"),
    ),
  ),
)
_UPDATES = (
  Panel(
    "norm of the gradient",
    (
      Series("policy/grad_norm", "policy"),
      Series("log_partition/grad_norm", "log Z"),
    ),
  ),
  Panel("loss", (Series("policy/loss", "policy"),)),
  Panel(
    "share of tokens whose ratio moved",
    (
      Series("policy/ratio_low_frac", "below 0.8"),
      Series("policy/ratio_high_frac", "above 1.2"),
    ),
  ),
  Panel(
    "sampler and trainer (nats per token)",
    (Series("policy/sampler_gap", "mean |gap|"),),
  ),
)
_TEACHER = (
  Panel(
    "student less teacher (nats per token)",
    (
      Series("teacher/d_hat_mean", "all"),
      Series("teacher/d_hat_mean/correct", "right responses"),
    ),
  ),
  Panel(
    "rows that the teacher weighs",
    (
      Series("teacher/active_row_frac", "of all"),
      Series("teacher/no_sibling_frac", "right, without a sibling"),
    ),
    top=1.0,
  ),
)


def chosen(runs: Mapping[str, curves.Lines]) -> dict[str, list[Panel]]:
  """Panels by heading; those without a point in any run are left out.

  Where there are several runs, each curve has a panel of its own: colours tell
  runs apart.
  """
  every = [line for lines in runs.values() for line in lines]
  found = {}
  for heading, panels in (
    ("Learning", curves.learning_panels(every)),
    ("Responses", _RESPONSES),
    ("Updates", _UPDATES),
    ("Teacher", _TEACHER),
    ("Curriculum", curves.CURRICULUM),
  ):
    if len(runs) > 1:
      panels = [x for panel in panels for x in _apart(panel)]
    if drawn := [x for x in panels if curves.has_data(x, every)]:
      found[heading] = drawn
  return found


def _apart(panel: Panel) -> list[Panel]:
  """A panel for each series."""
  if len(panel.series) == 1:
    return [panel]
  return [
    Panel(f"{panel.title}: {series.label}", (series,), panel.top)
    for series in panel.series
  ]
