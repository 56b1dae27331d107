"""The closing table, from lines of a record."""

from rlvr_jax import summary


def _line(step, value, **more):
  return {
    "step": step,
    "rollout/total_tokens": 1000 * step,
    "eval/pass_at_1": value,
    "eval/pass_at_1_se": 0.01,
    "eval/pass_at_8": 0.5,
    "eval/pass_at_8_se": 0.02,
  } | more


def test_before_and_after_are_the_first_and_last_evaluation():
  lines = [_line(0, 0.1), {"step": 1}, _line(2, 0.2), _line(3, 0.35)]
  found = summary.summarize(lines)
  assert found["before"]["pass_at_1"] == 0.1
  assert found["after"]["pass_at_1"] == 0.35
  assert (found["steps"], found["generated_tokens"]) == (3, 3000)


def test_the_table_lines_up():
  text = summary.table(summary.summarize([_line(0, 0.1), _line(3, 0.35)]))
  header, first, second, note = text.splitlines()
  assert header.split() == ["held-out", "before", "after", "change"]
  assert first.split() == (
    ["pass@1", "0.100", "±", "0.010", "0.350", "±", "0.010", "+0.250"]
  )
  assert second.startswith("pass@8")
  assert len(header) == len(first) == len(second)
  assert note.startswith("3 steps, 3,000 generated tokens")
