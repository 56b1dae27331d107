"""Both kinds of our runs take the workload's steps."""

import dataclasses
import json
import sys

import jax
import pytest

from benchmarks import workload
from benchmarks.sides import lab_runs

_SIZE = dataclasses.replace(
  workload.SIZES["Q"],
  layers=1,
  width=8,
  heads=1,
  kv_heads=1,
  head_dim=8,
  ffn=8,
  prompts=2,
  samples=2,
)


def test_the_shapes_are_those_of_the_workload():
  run = lab_runs.experiment(_SIZE, seed=3).run
  assert run.seed == 3
  assert run.data.prompt_tokens == _SIZE.prompt_tokens
  assert run.rollout.completion_tokens == _SIZE.completion_tokens
  assert run.prompts_per_step == _SIZE.prompts
  assert run.model.vocab_size == _SIZE.vocab


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "steps"), [("host", 3), ("lab", 8)])
def test_a_step_is_that_of_one_run(kind, steps, tmp_path, monkeypatch):
  monkeypatch.setitem(workload.SIZES, "Q", _SIZE)
  file = tmp_path / "report.json"
  flags = f"--kind={kind} --size=Q --steps={steps} --seeds=2 --devices=1"
  monkeypatch.setattr(sys, "argv", ["", *flags.split(), f"--json={file}"])
  # optax promotes its count.
  with jax.numpy_dtype_promotion("standard"):
    lab_runs.main()
  report = json.loads(file.read_text())
  assert len(report["checks"]["reward"]) == steps
  secs = report["all_seconds"]
  if kind == "host":
    assert len(secs["step"]) == steps
  else:
    # Four programs, each of two steps of two runs.
    assert secs["step"] == [chunk / 4 for chunk in secs["chunk"]]
    assert len(secs["step"]) == 4
