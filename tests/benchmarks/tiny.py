"""A size whose arithmetic can be done by hand."""

from benchmarks import workload

# Two prompts of two samples, one layer with one head of width 2.
SIZE = workload.Size(
  name="tiny",
  layers=1,
  width=2,
  heads=1,
  kv_heads=1,
  head_dim=2,
  ffn=3,
  vocab=100,
  prompts=2,
  samples=2,
  prompt_tokens=8,
  completion_tokens=2,
  micro_batches=1,
)
