"""The program: a dump in, a rollout file out, or one sentence."""

import json
import subprocess
import sys

import numpy as np

from rlvr_jax.rollouts import files as rollout_files


def _run(*flags):
  return subprocess.run(
    [sys.executable, "-m", "rlvr_jax.import_rollouts", *flags],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )


def test_a_dump_becomes_a_file_or_nothing(tmp_path):
  row = {"p": [5, 6], "completion_tokens": [7, 8], "reward": 1, "group": "a"}
  rows = [row, row | {"completion_tokens": [9], "reward": 0.0}]
  dump, out = tmp_path / "dump.jsonl", tmp_path / "out" / "rollouts.npz"
  dump.write_text("\n".join(map(json.dumps, rows)))
  done = _run(
    f"--jsonl={dump}", f"--out={out}", "--fields=prompt_tokens=p,group="
  )
  assert done.returncode == 0, done.stderr
  assert "1 prompts, 2 completions, 3 tokens; with no log-prob" in done.stdout
  batch, _ = rollout_files.read(out)
  np.testing.assert_array_equal(batch.completion_tokens, [[7, 8], [9, 0]])

  rows[1]["reward"] = None
  dump.write_text("\n".join(map(json.dumps, rows)))
  before = out.read_bytes()
  done = _run(f"--jsonl={dump}", f"--out={out}", "--fields=prompt_tokens=p")
  assert done.returncode == 2
  assert done.stderr.startswith(f"error: {dump}:2 has the keys p, ")
  assert done.stderr.count("\n") == 1
  assert out.read_bytes() == before and len(list(out.parent.iterdir())) == 1
