"""The table of samples."""

from rlvr_jax.reporting import samples


def _line(step, text="6 1", outcome="wrong"):
  return {"step": step, "prompt": text, "completion": text, "outcome": outcome}


def test_the_newest_come_first():
  text = samples.table([_line(0), _line(10, outcome="correct"), _line(5)])
  steps = [x.split("<")[0] for x in text.split('data-name="step">')[1:]]
  assert steps == ["10", "5", "0"]
  assert text.count('<tr data-verdict="correct">') == 1


def test_each_verdict_can_be_chosen_once():
  text = samples.table([_line(0), _line(1), _line(2, outcome="correct")])
  assert text.count("<option>") == 3


def test_long_texts_are_folded():
  assert "<details" not in samples.table([_line(0, "x" * 200)])
  text = samples.table([_line(0, "x" * 300 + "<end>")])
  assert text.count("<details") == 2
  assert "&lt;end&gt;" in text and "<end>" not in text
