"""Samples that share the keys and values of their prompt.

Beside them as many prompts of one sample each.
"""

from collections.abc import Callable
import dataclasses
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp

from benchmarks import measurement
from benchmarks import tables
from benchmarks import workload
from benchmarks.sides import ours
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import prefix as prefix_lib

_MIB = 2**20


def results(size: workload.Size, dtype: str, rounds: int) -> dict[str, Any]:
  """Prompts that samples share, beside a copy of the prompt for each."""
  experiment = ours.experiment(size, dtype)
  params = ours.fresh_params(experiment)
  model = transformer.Transformer(experiment.run.model)
  shared = ours.prompt_batch(size, 0)
  by_row = jax.tree.map(lambda x: jnp.repeat(x, size.samples, axis=0), shared)
  by_row = by_row.replace(prompt_ids=jnp.arange(size.sequences))

  def read(params, prompts):
    prefix = prefix_lib.read_prompts(model, params, prompts)
    return prefix.replace(embeddings=None)

  kinds, found = {}, {}
  for name, prompts, samples in (
    ("shared", shared, size.samples),
    ("per_row", by_row, 1),
  ):
    config = dataclasses.replace(
      experiment.run.rollout, num_generations=samples
    )

    def generate(params, prompts, config=config):
      return ours.sample(experiment, config, params, prompts)

    def decode(params, prompts, prefix, generate=generate):
      # The sampler reads prompts itself: it is given what it would read, so
      # that its decoding loops are compiled alone.
      with mock.patch.object(prefix_lib, "read_prompts", return_value=prefix):
        return generate(params, prompts)

    shape = jax.eval_shape(read, params, prompts)
    prefill = jax.jit(read).lower(params, prompts).compile()
    whole = jax.jit(generate).lower(params, prompts).compile()
    alone = jax.jit(decode).lower(params, prompts, shape).compile()
    prefix = prefill(params, prompts)
    kinds[f"{name} prefill"] = lambda f=prefill, x=prompts: f(params, x)
    kinds[f"{name} decode"] = lambda f=alone, x=prompts, p=prefix: f(
      params, x, p
    )
    temp_bytes = lambda x: x.memory_analysis().temp_size_in_bytes
    found[name] = {
      "cache_bytes": sum(
        x.size * x.dtype.itemsize for x in jax.tree.leaves(shape.cache)
      ),
      "prefill_temp_bytes": temp_bytes(prefill),
      "generate_temp_bytes": temp_bytes(whole),
    }
  secs = measurement.interleaved(kinds, rounds)
  for name, x in found.items():
    x["prefill_secs"] = tables.quartiles(secs[f"{name} prefill"])
    x["decode_secs"] = tables.quartiles(secs[f"{name} decode"])
  ratio = lambda part: tables.quartiles(
    secs[f"per_row {part}"] / secs[f"shared {part}"]
  )
  return {
    "prompts": size.prompts,
    "samples": size.samples,
    "prompt_tokens": size.prompt_tokens,
    "completion_tokens": size.completion_tokens,
    **found,
    "prefill_ratio": ratio("prefill"),
    "decode_ratio": ratio("decode"),
  }


def table(found: dict[str, Any]) -> str:
  """The results as text."""
  shared, by_row = found["shared"], found["per_row"]
  lines = [
    f"{found['prompts']} prompts of {found['prompt_tokens']} tokens,"
    f" {found['samples']} samples of {found['completion_tokens']} tokens each",
    f"{'':>22} {'shared':>10} {'per row':>10} {'ratio':>7}",
  ]

  def row(name: str, of: Callable[[dict], float], ratio: float | None = None):
    one, many = of(shared), of(by_row)
    # A CPU may keep temporary memory of 0 bytes.
    ratio = ratio if ratio is not None else many / max(one, 1e-9)
    lines.append(f"{name:>22} {one:>10.3f} {many:>10.3f} {ratio:>6.2f}x")

  row("prompt cache, MiB", lambda x: x["cache_bytes"] / _MIB)
  row("prefill, s", lambda x: x["prefill_secs"][1], found["prefill_ratio"][1])
  row("decoding, s", lambda x: x["decode_secs"][1], found["decode_ratio"][1])
  row("temp of prefill, MiB", lambda x: x["prefill_temp_bytes"] / _MIB)
  row("temp of sampler, MiB", lambda x: x["generate_temp_bytes"] / _MIB)
  return "\n".join(lines)
