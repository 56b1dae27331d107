"""Floating-point operations of a step, counted by formula.

The least that the step needs with shared prompts: each prompt is read once for
all of its samples, by the sampler and by the update, and logits are formed for
completions alone. Matrix products and attention count; norms, softmax and the
optimizer do not. A backward pass is two forward ones. A library that computes
more (prompts of every sample, logits of prompts) is not credited for it.
"""

from benchmarks import workload


def forward_flops(size: workload.Size) -> float:
  """One pass over a step's prompts and completions."""
  tokens = size.prompts * size.prompt_tokens + size.generated_tokens
  layers = size.layers * size.layer_matrix_parameters * tokens
  logits = size.vocab * size.width * size.generated_tokens
  return 2.0 * (layers + logits) + _attention_flops(size)


def _attention_flops(size: workload.Size) -> float:
  """Scores and mixtures of values: queries see the past and themselves."""
  prompt, completion = size.prompt_tokens, size.completion_tokens
  in_prompt = prompt * (prompt + 1) // 2
  in_completion = completion * prompt + completion * (completion + 1) // 2
  pairs = size.prompts * in_prompt + size.sequences * in_completion
  return 4.0 * size.layers * size.heads * size.head_dim * pairs


def step_flops(size: workload.Size) -> dict[str, float]:
  """By part of a step: sampling is one pass, an update three."""
  forward = forward_flops(size)
  return {"generate": forward, "update": 3 * forward, "step": 4 * forward}
