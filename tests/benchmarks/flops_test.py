"""The arithmetic that a step is credited with."""

from benchmarks import flops
from tests.benchmarks import tiny


def test_flops_by_hand():
  # Query and output 2 x 2 each, key and value 2 x 2 each, three MLP matrices
  # of 2 x 3: 16 + 18 = 34 numbers. Tokens: 2 prompts of 8, read once, and 4
  # completions of 2: 24. Logits: 100 x 2 for each of 8 generated tokens.
  products = 2 * (34 * 24 + 200 * 8)
  # Pairs of query and key: in a prompt 8 * 9 / 2 = 36; a completion's two
  # queries see 9 and 10 keys. Each pair costs 2 products of width 2.
  attention = 4 * 2 * (2 * 36 + 4 * 19)
  forward = products + attention
  assert flops.forward_flops(tiny.SIZE) == forward
  assert flops.step_flops(tiny.SIZE) == {
    "generate": forward,
    "update": 3 * forward,
    "step": 4 * forward,
  }
