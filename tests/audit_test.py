"""The audit program, as it is started."""

import json
import subprocess
import sys

import pytest


def _run(*arguments):
  done = subprocess.run(
    [sys.executable, "-m", "rlvr_jax.audit", "--num_workers=2", *arguments],
    capture_output=True,
    text=True,
    timeout=120,
    env=None,
  )
  return done.returncode, done.stdout, done.stderr


def test_the_figures_of_the_small_verifier(tmp_path):
  path = tmp_path / "made" / "audit.json"
  code, out, err = _run(
    "--verifier=numeric",
    "--num_prompts=8",
    f"--golds={_golds(tmp_path)}",
    '--options={"strip_units": true}',
    f"--out={path}",
  )
  assert (code, err) == (0, "")
  figures = json.loads(path.read_text())
  assert figures["num_golds"] == 8
  assert figures["options"] == {"strip_units": True}
  kinds, groups = figures["kinds"], figures["groups"]
  # It reads every form of a number but these, and is never wrong on a number.
  missed = {k for k, v in kinds.items() if v["errors"]}
  assert missed == {"equivalent/no_box", "equivalent/sum", "equivalent/mixed"}
  assert groups["near_miss"]["errors"] == groups["junk"]["errors"] == 0
  assert groups["directed"]["count"] == 8 * 14
  cell = kinds["equivalent/no_box"]
  assert (cell["rate"], cell["high"], len(cell["examples"])) == (1.0, 1.0, 3)
  assert 0.6 < cell["low"] < 0.7
  assert cell["examples"][0] == {
    "gold": "12",
    "response": "The final answer is $12$.",
    "outcome": "unparsed",
    "answer": None,
  }
  lines = out.splitlines()
  assert lines[0].startswith('verifier numeric {"strip_units": true}, 8 golds')
  assert "no_box" in out and "NEAR_MISS" in out
  assert "  equivalent/no_box: gold 12  unparsed  The final answer" in out
  assert lines[-1] == f"figures: {path}"


def test_drawn_golds_that_the_verifier_cannot_read_are_left_out():
  code, out, _ = _run("--verifier=numeric", "--num_prompts=18")
  assert code == 0
  # Integers, fractions, decimals and percents: four kinds of nine.
  assert out.startswith("verifier numeric {}, 8 golds, seed 0")


def _golds(folder):
  texts = ["12", "-3", "4080", "1/2", r"\frac{7}{3}", "0.25", 7, 2.5]
  path = folder / "golds.jsonl"
  path.write_text("".join(json.dumps({"answer": x}) + "\n\n" for x in texts))
  return path


def test_what_cannot_be_judged_is_counted_not_scored(tmp_path):
  path = tmp_path / "audit.json"
  code, _, _ = _run(
    "--verifier=tests.verifiers.obedient:obey",
    f"--golds={_crashing(tmp_path)}",
    f"--out={path}",
  )
  assert code == 0
  figures = json.loads(path.read_text())
  cell = figures["kinds"]["equivalent/as_it_is"]
  assert (cell["judged"], cell["errors"], cell["unjudged"]) == (1, 1, {})
  empty = figures["kinds"]["junk/empty"]
  assert (empty["count"], empty["errors"]) == (1, 0)


def _crashing(folder):
  path = folder / "golds.jsonl"
  path.write_text('{"answer": "exit"}\n')
  return path


@pytest.mark.parametrize(
  "arguments, text, message",
  [
    (
      ["--verifier=nmeric"],
      "",
      "verifier is 'nmeric': did you mean 'numeric'?",
    ),
    (["--num_prompts=0"], "", "--num_prompts is 0: set it above 0"),
    (["--options=[1]"], "", "--options is '[1]': give a JSON object"),
    (["--golds=nowhere.jsonl"], "", "--golds nowhere.jsonl cannot be read (No"),
    (["--golds="], "{}", "line 1 has no text under 'answer': set --answer_key"),
    (["--golds="], '{"answer": "1"}\nx', "line 2 is not JSON: give one object"),
    (["--golds="], "", "is empty: give a gold a line"),
    (
      ["--golds="],
      '{"answer": "1"}\n{"answer": "one"}',
      "[1] is 'one', which the verifier cannot read (gold_unparsed): mend",
    ),
  ],
)
def test_mistakes_end_in_a_sentence(tmp_path, arguments, text, message):
  path = tmp_path / "golds.jsonl"
  path.write_text(text)
  told = [x + str(path) if x == "--golds=" else x for x in arguments]
  code, out, err = _run("--verifier=numeric", *told)
  assert (code, out) == (2, "")
  assert err.startswith("error: ") and err.count("\n") == 1
  assert message in err
