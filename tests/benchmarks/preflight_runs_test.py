"""The papers' runs fit the devices that `benchmarks.preflight` names."""

import pytest

from benchmarks import preflight
from tests import marks


@pytest.mark.slow  # the compiler's: 1 to 3 minutes a run, some 20 in all
@pytest.mark.parametrize("name", preflight.RUNS)
def test_a_papers_run_fits(name):
  run = preflight.RUNS[name]
  marks.skip_without_compiler(run.topology)
  found = preflight.measured(run, timeout_secs=1200)
  assert found["fits"]
  for program in found["programs"]:
    assert 0 < program["peak_gib"] <= found["memory_gib"]
    assert program["costs"]["flops"] > 0
