"""Completions that end at a random token, a quarter of the longest on average.

Decoded all at once; with fewer slots, refilled; and in batches of the same
width, one after another, each as long as its longest completion.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measurement
from benchmarks import tables
from benchmarks import workload
from benchmarks.sides import ours

# Of the longest completion: what the completions have on average.
_MEAN_SHARE = 0.25


def mean_length(stop_probability: float, longest: int) -> float:
  """Expected tokens of a completion that is cut at the longest."""
  return (1 - (1 - stop_probability) ** longest) / stop_probability


def with_equal_logits(params: Any) -> Any:
  """The parameters with hidden states of 0 at the very end.

  All layers still work on numbers of the usual size, but the bias alone
  decides when a completion ends.
  """
  zeroed = jax.tree.map(jnp.zeros_like, params["final_norm"])
  return params | {"final_norm": zeroed}


def results(
  size: workload.Size, dtype: str, widths: list[int], rounds: int
) -> dict[str, Any]:
  """Completions of many lengths: refilled slots and batches of that width."""
  experiment = ours.experiment(size, dtype)
  params = with_equal_logits(ours.fresh_params(experiment))
  prompts = ours.prompt_batch(size, 0)
  stop_probability = 1 / (_MEAN_SHARE * size.completion_tokens)

  def counted(slots: int):
    config = dataclasses.replace(experiment.run.rollout, slots=slots)

    def run(params, prompts):
      x = ours.sample(
        experiment, config, params, prompts, stop_probability=stop_probability
      )
      return x, jnp.sum(x.completion_mask), jnp.sum(x.decode_steps)

    return jax.jit(run)

  def in_batches(width: int):
    run, number = counted(0), width // size.samples
    parts = [
      jax.tree.map(lambda x, i=i: x[i : i + number], prompts)
      for i in range(0, size.prompts, number)
    ]
    # One after another: batches in flight together would not be so narrow.
    return lambda: [jax.block_until_ready(run(params, x)) for x in parts]

  def refilled(slots: int):
    run = counted(slots)
    return lambda: [run(params, prompts)]

  kinds = {"at once 0": refilled(0)}
  for width in widths:
    kinds[f"refilled {width}"] = refilled(width)
    kinds[f"batches {width}"] = in_batches(width)
  secs = measurement.interleaved(kinds, rounds)
  base = secs["at once 0"]
  found = []
  for name, run in kinds.items():
    kind, width = name.rsplit(" ", 1)
    counts = [(float(tokens), float(steps)) for _, tokens, steps in run()]
    tokens, steps = (sum(x) for x in zip(*counts, strict=True))
    found.append(
      {
        "kind": kind,
        "width": int(width) or size.sequences,
        "secs": tables.quartiles(secs[name]),
        "tokens": int(tokens),
        "tokens_per_sec": tokens / float(np.median(secs[name])),
        "idle_share": 1 - tokens / steps,
        "throughput_ratio": tables.quartiles(base / secs[name]),
      }
    )
    if kind == "refilled":
      beside = secs[f"batches {width}"]
      found[-1]["ratio_to_batches"] = tables.quartiles(beside / secs[name])
  return {
    "sequences": size.sequences,
    "completion_tokens": size.completion_tokens,
    "mean_length": found[0]["tokens"] / size.sequences,
    "expected_mean_length": mean_length(
      stop_probability, size.completion_tokens
    ),
    # Neither slots nor batches change a draw: all decode the same tokens.
    "same_tokens": len({x["tokens"] for x in found}) == 1,
    "kinds": found,
  }


def table(found: dict[str, Any]) -> str:
  """The results as text."""
  lines = [
    f"{found['sequences']} completions of {found['mean_length']:.1f} tokens on"
    f" average ({found['expected_mean_length']:.1f} expected), at most"
    f" {found['completion_tokens']}",
    f"{'':>9} {'width':>6} {'secs':>8} {'tokens/s':>9} {'idle':>5}"
    f" {'to all at once':>15} {'to batches':>11}",
  ]
  for x in found["kinds"]:
    line = (
      f"{x['kind']:>9} {x['width']:>6} {x['secs'][1]:>8.3f}"
      f" {x['tokens_per_sec']:>9,.0f} {x['idle_share']:>5.0%}"
      f" {x['throughput_ratio'][1]:>14.2f}x"
    )
    if "ratio_to_batches" in x:
      line += f" {x['ratio_to_batches'][1]:>10.2f}x"
    lines.append(line)
  if not found["same_tokens"]:
    lines.append("the kinds decoded different tokens: not one workload")
  return "\n".join(lines)
