"""Flags of the step's benchmark."""

from benchmarks import rl_step
from benchmarks import workload


def test_peers_are_a_list_with_commas():
  parse = lambda *given: rl_step.arguments().parse_args(given)
  assert parse("--peers=trl,torch").peers == ["trl", "torch"]
  assert parse("--peers=").peers == []
  assert parse().peers == ["trl", "tunix", "torch", "generate"]


def test_ours_may_have_passes_of_its_own():
  args = rl_step.arguments().parse_args(["--our-micro-batches=8", "--steps=3"])
  sides = rl_step.commands(args, workload.SIZES["S"], ["ours", "torch"])
  same = ["--size=S", "--steps=3", "--dtype=auto"]
  assert sides["ours"] == [*same, "--micro-batches=8"]
  assert sides["torch"] == [*same, "--micro-batches=1"]
