"""Whether sides agree."""

import math

import numpy as np

from benchmarks import same
from benchmarks.sides import agreement


def test_differences_and_their_limits():
  rng = np.random.default_rng(0)
  gradient = {"a": rng.standard_normal(5), "b": rng.standard_normal((2, 3))}
  oracle = {f"gradient/{name}": x for name, x in gradient.items()}
  oracle["logprobs"] = np.zeros((2, 3))
  exact = agreement.differences(oracle, oracle["logprobs"], gradient)
  assert exact == {
    "logprobs": 0.0,
    "gradient": 0.0,
    "worst_tensor": 0.0,
    "tensors": 2,
  }
  assert same.disagreements({"ours": exact}) == []
  doubled = gradient | {"a": 2 * gradient["a"]}
  found = agreement.differences(oracle, oracle["logprobs"] + 0.5, doubled)
  assert found["logprobs"] == 0.5
  assert math.isclose(found["worst_tensor"], 1.0)
  assert found["gradient"] < 1.0
  (sentence,) = same.disagreements({"ours": found})
  assert sentence.startswith("ours does not compute what PyTorch does")
  # A NaN is no agreement.
  broken = exact | {"gradient": math.nan}
  assert len(same.disagreements({"tunix": broken})) == 1
