"""The papers' runs fit the TPUs that `benchmarks.preflight` names."""

import pytest

from benchmarks import preflight


@pytest.mark.slow  # the compiler's: 1 to 3 minutes a run, some 15 in all
@pytest.mark.parametrize("name", preflight.RUNS)
def test_a_papers_run_fits(name):
  pytest.importorskip("libtpu", reason='needs pip install "jax[tpu]"')
  found = preflight.measured(preflight.RUNS[name], timeout_secs=1200)
  assert found["fits"]
  for program in found["programs"]:
    assert 0 < program["peak_gib"] <= found["memory_gib"]
    assert program["costs"]["flops"] > 0
