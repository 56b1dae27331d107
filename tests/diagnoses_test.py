"""Every rule on series made by hand: the fault, a healthy run, nothing."""

import pytest

from rlvr_jax.diagnosis import series
from rlvr_jax.diagnosis import table

_CONFIG = {
  "model": {"dtype": "float32"},
  "prompts_per_step": 32,
  "optimizer": {"learning_rate": 0.15},
  "replay": {"max_age": 100},
  "rollout": {"completion_tokens": 16, "top_p": 0.8},
  "updates": {"num_minibatches": 8},
}
_STEPS = 20
# A run of all metrics in which nothing is wrong; a pair is start and end.
_HEALTHY = {
  "train/accuracy": (0.3, 0.5),
  "rollout/entropy": (0.3, 0.2),
  "rollout/completion_tokens": (13.0, 14.0),
  "rollout/unfinished_frac": (0.02, 0.01),
  "rollout/mixed_group_frac": (0.7, 0.6),
  "rollout/all_wrong_group_frac": (0.2, 0.2),
  "rollout/all_right_group_frac": (0.1, 0.2),
  "rollout/timeout_frac": (0.0, 0.01),
  "rollout/crash_frac": (0.0, 0.0),
  "rollout/gold_unparsed_frac": (0.0, 0.0),
  "policy/entropy": (0.3, 0.2),
  "policy/entropy_opening": (0.6, 0.4),
  "policy/entropy_last": (0.001, 0.001),
  "policy/decided_frac": (0.5, 0.6),
  "policy/grad_norm": (0.3, 0.3),
  "policy/ratio_gap": (0.02, 0.02),
  "policy/ratio_low_frac": (0.01, 0.01),
  "policy/ratio_high_frac": (0.01, 0.01),
  "policy/response_kl_ref": (0.0, 1.0),
  "policy/skipped_frac": (0.0, 0.0),
  "policy/sampler_old_gap": (1e-7, 1e-7),
  "policy/sampler_shift": (0.0, 0.0),
  "policy/sampler_gap_square": (1e-14, 1e-14),
  "policy/sampler_surprise_square": (0.2, 0.2),
  "policy/sampler_slope": (0.0, 0.0),
  "curriculum/error": (0.2, 0.15),
  "curriculum/excess_error": (0.1, 0.02),
  "curriculum/bias": (0.1, 0.0),
  "curriculum/rank_correlation": (0.0, 0.5),
  "log_partition/drift": (0.01, 0.01),
  "replay/age": (1.0, 2.0),
  "replay/rows": (4.0, 16.0),
}
# Diagnosis -> what its fault changes, and figures that its evidence names.
_FAULTS = {
  "all_wrong_groups": (
    {
      "rollout/all_wrong_group_frac": (0.9, 0.9),
      "train/accuracy": (0.01, 0.01),
    },
    ("90% of the prompts", "steps 16 to 20", "0.010"),
  ),
  "all_right_groups": (
    {"rollout/all_right_group_frac": (0.2, 0.95)},
    ("samples right", "24% at the start"),
  ),
  "truncation": (
    {"rollout/unfinished_frac": (0.5, 0.5)},
    ("50% of the responses", "the limit 16"),
  ),
  "length_explosion": (
    {
      "rollout/completion_tokens": (10.0, 40.0),
      "train/accuracy": (0.3, 0.3),
    },
    ("times the", "+0.000"),
  ),
  "verifier_failures": (
    {"rollout/timeout_frac": (0.2, 0.2), "rollout/crash_frac": (0.1, 0.1)},
    ("30.0% of the responses", "timeout 20.0%", "crash 10.0%"),
  ),
  "replay_too_old": (
    {"replay/age": (12.0, 12.0)},
    ("12.0 steps old", "up to 100"),
  ),
  "temperature_mismatch": (
    {
      "policy/sampler_old_gap": (0.05, 0.05),
      "policy/sampler_shift": (-0.004, -0.004),
      "policy/sampler_gap_square": (0.008, 0.008),
      "policy/sampler_slope": (-0.2, -0.2),
    },
    ("0.05 nats", "100% of its square", "1.22 times"),
  ),
  "top_p_mismatch": (
    {
      "policy/sampler_old_gap": (0.05, 0.05),
      "policy/sampler_shift": (-0.05, -0.05),
      "policy/sampler_gap_square": (0.008, 0.008),
    },
    ("-0.05", "0.95 of the mass"),
  ),
  "stale_weights": (
    {
      "policy/sampler_old_gap": (1e-7, 0.1),
      "policy/sampler_shift": (0.0, -0.005),
      "policy/sampler_gap_square": (1e-14, 0.01),
    },
    ("1e-07 at step 1", "since step 2"),
  ),
  "sampler_mismatch": (
    {
      "policy/sampler_old_gap": (0.2, 0.2),
      "policy/sampler_shift": (-0.0002, -0.0002),
      "policy/sampler_gap_square": (0.2, 0.2),
      "policy/sampler_slope": (-0.7, -0.7),
    },
    ("49% of it", "-0.0002", "-0.1"),
  ),
  "learning_rate_too_high": (
    {
      "rollout/entropy": [0.3, *[0.9] * (_STEPS - 1)],
      "train/accuracy": [0.3, *[0.0] * (_STEPS - 1)],
    },
    ("0.300 at step 1 to 0.900 at step 2", "200%", "is 0.15"),
  ),
  "clip_saturation": (
    {"policy/ratio_low_frac": (0.2, 0.05)},
    ("of 8 updates", "above"),
  ),
  "kl_blow_up": (
    {"policy/response_kl_ref": (0.0, 28.0)},
    ("nats a response", "a token"),
  ),
  "entropy_collapse": (
    {
      "policy/entropy": (0.3, 0.01),
      "policy/entropy_opening": (0.6, 0.01),
      "policy/decided_frac": (0.5, 0.99),
    },
    ("nats a token", "first quarter 0.569", "last token", "decided"),
  ),
  "log_z_not_tracking": (
    {"curriculum/excess_error": (0.3, 0.3), "curriculum/bias": (0.4, 0.4)},
    ("0.300 more", "+0.400", "a step moves them by 0.01"),
  ),
  "skipped_updates": (
    {"policy/skipped_frac": [0.0, 1.0, *[0.0] * (_STEPS - 2)]},
    ("1 of 20 steps", "step 2"),
  ),
}


def _run(**changes) -> series.Run:
  """A run whose metrics go evenly from start to end, or are listed."""
  lines = [{"step": step} for step in range(1, _STEPS + 1)]
  for name, values in (_HEALTHY | changes).items():
    if isinstance(values, tuple):
      first, last = values
      gain = (last - first) / (_STEPS - 1)
      values = [first + gain * place for place in range(_STEPS)]
    for line, value in zip(lines, values, strict=True):
      line[name] = value
  timing = [{"step": line["step"], "compile/programs": 0} for line in lines]
  return series.Run(_CONFIG, lines, timing)


def _names(run: series.Run) -> list[str]:
  return [diagnosis.name for diagnosis in table.diagnose(run)]


def test_a_healthy_run_has_nothing():
  assert _names(_run()) == []


@pytest.mark.parametrize("name", sorted(_FAULTS))
def test_a_fault_is_told_alone_and_with_its_figures(name):
  changes, figures = _FAULTS[name]
  (found,) = table.diagnose(_run(**changes))
  assert found.name == name
  text = " ".join(found.evidence)
  for figure in figures:
    assert figure in text, text
  assert found.turns and found.otherwise and found.says


def test_compilations_after_the_second_step():
  run = _run()
  for step in (1, 2, 5):
    run.timing[step - 1].update({"compile/programs": 3, "compile/secs": 2.0})
  assert _names(run) == []
  for step in (6, 7):
    run.timing[step - 1].update({"compile/programs": 1, "compile/secs": 0.5})
  (found,) = table.diagnose(run)
  assert found.name == "recompiles"
  assert "steps 5 to 7" in found.evidence[0]
  assert found.evidence[1] == "5 programs in 3.0 s"


def test_every_diagnosis_has_a_fault_here():
  assert {*_FAULTS, "recompiles"} == set(table.NAMES)


@pytest.mark.parametrize("value", [None, "absent"])
def test_rules_are_silent_without_their_metrics(value):
  lines = [{"step": 1}, {"step": 2}]
  if value is None:
    for line in lines:
      line |= dict.fromkeys(_HEALTHY)
  assert _names(series.Run({}, lines)) == []
  assert _names(series.Run({}, lines[:1])) == []


@pytest.mark.parametrize("name", sorted(_FAULTS))
def test_rules_stand_a_run_of_one_step(name):
  run = _run(**_FAULTS[name][0])
  table.diagnose(run._replace(lines=run.lines[:1], timing=()))


def test_a_cause_is_told_and_its_signs_beside_it():
  changes = {}
  for name in ("learning_rate_too_high", "truncation", "entropy_collapse"):
    changes |= _FAULTS[name][0]
  changes["rollout/all_wrong_group_frac"] = (0.2, 1.0)
  (found,) = table.diagnose(_run(**changes))
  assert found.name == "learning_rate_too_high"
  assert set(found.signs) == {
    "truncation",
    "entropy_collapse",
    "all_wrong_groups",
  }


def test_what_nothing_explains_is_told_too():
  changes = _FAULTS["verifier_failures"][0] | _FAULTS["truncation"][0]
  assert _names(_run(**changes)) == ["verifier_failures", "truncation"]


def test_causes_explain_what_stands_below_them():
  assert len(set(table.NAMES)) == len(table.NAMES)
  for place, cause in enumerate(table.TABLE):
    below = table.NAMES[place + 1 :]
    assert set(cause.explains) <= set(below), cause.name


def test_only_one_kind_of_gap_is_told():
  run = _run(**_FAULTS["top_p_mismatch"][0])
  spoken = [
    cause.name
    for cause in table.TABLE
    if "mismatch" in cause.name and cause.rule(run)
  ]
  assert spoken == ["top_p_mismatch"]


def test_half_precision_and_a_setting_move_the_bound():
  changes = {
    "policy/sampler_old_gap": (0.02, 0.02),
    "policy/sampler_shift": (-0.02, -0.02),
  }
  run = _run(**changes)
  assert _names(run) == ["top_p_mismatch"]
  for config in (
    {"model": {"dtype": "bfloat16"}},
    {"consistency": {"max_gap": 0.03}},
  ):
    assert _names(run._replace(config=config)) == []


def test_a_turn_names_the_setting_and_its_value():
  (found,) = table.diagnose(_run(**_FAULTS["learning_rate_too_high"][0]))
  assert found.turns[0] == (
    "config.optimizer.learning_rate (is 0.15): lower by 10 times"
  )
  assert "(not set)" in found.turns[1]


@pytest.mark.parametrize(
  "changes, found",
  [
    # A young head that knows the mean alone.
    ({}, []),
    ({"log_partition/drift": (0.0, 0.0)}, ["log_z_not_tracking"]),
    ({"curriculum/bias": (-0.2, -0.2)}, ["log_z_not_tracking"]),
  ],
)
def test_a_head_that_misses_is_told_where_it_stands_still(changes, found):
  missed = {
    "curriculum/excess_error": (0.2, 0.2),
    "curriculum/rank_correlation": (0.0, 0.0),
  }
  assert _names(_run(**missed, **changes)) == found


def test_a_growth_in_length_that_pays_is_none():
  changes = {
    "rollout/completion_tokens": (10.0, 40.0),
    "train/accuracy": (0.2, 0.6),
  }
  assert _names(_run(**changes)) == []


def test_an_accuracy_lost_at_once_is_the_step_size():
  accuracy = [0.34, 0.18, 0.13, *[0.01] * (_STEPS - 3)]
  changes = {"train/accuracy": accuracy, "rollout/unfinished_frac": (0.0, 0.7)}
  (found,) = table.diagnose(_run(**changes))
  assert (found.name, found.signs) == (
    "learning_rate_too_high",
    ("truncation",),
  )
  # Of few prompts it may be chance; where nothing was right, nothing is lost.
  few = _run(**changes)
  few = few._replace(config=_CONFIG | {"prompts_per_step": 4})
  never = _run(**changes | {"train/accuracy": (0.0, 0.0)})
  assert _names(few) == _names(never) == ["truncation"]
  # By and by it is something else.
  assert _names(_run(**changes | {"train/accuracy": (0.34, 0.01)})) == [
    "truncation"
  ]


def test_updates_that_go_too_far_explain_what_is_lost():
  changes = {
    "train/accuracy": [0.3, *[0.0] * (_STEPS - 1)],
    "policy/ratio_low_frac": (0.2, 0.2),
  }
  (found,) = table.diagnose(_run(**changes))
  assert found.name == "clip_saturation"
  assert found.signs == ("learning_rate_too_high",)


def test_a_format_that_was_learned_is_no_collapse():
  changes = {
    "policy/entropy": (3.4, 0.4),
    "policy/entropy_opening": (3.4, 0.5),
  }
  assert _names(_run(**changes)) == []
