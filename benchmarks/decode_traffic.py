"""What a decoding step moves through a device's memory, beside the least.

python -m benchmarks.decode_traffic --topology v5p:2x2x1 --size L

Compiles our sampler for an accelerator that need not be there, and counts what
each of its decoding loops reads and writes a step (`traffic`). Decoding is
bound by memory, so this is what its speed at best depends on. The least is
every parameter once, in the type that is computed with, and every key and value
of the loop's cache and of the prompts once. Without --slots a loop decodes all
completions, and the first ones have a cache for as many tokens as they reach.
"""

import argparse
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import machine
from benchmarks import measurement
from benchmarks import traffic
from benchmarks import workload
from benchmarks.sides import ours
from rlvr_jax import sharding
from rlvr_jax import summary
from rlvr_jax.rollouts import slots as slots_lib
from rlvr_jax.sizing import chips
from rlvr_jax.sizing import hlo_text
from rlvr_jax.sizing import targets


def compiled(
  size: workload.Size, dtype: str, device: jax.Device, slots: int = 0
) -> str:
  """Text of the sampler's program for a device."""
  experiment = ours.experiment(size, dtype, remat="full")
  place = jax.sharding.SingleDeviceSharding(device)
  params = jax.eval_shape(lambda: ours.fresh_state(experiment).params)
  prompts = jax.eval_shape(lambda: ours.prompt_batch(size, 0))
  rollout = dataclasses.replace(experiment.run.rollout, slots=slots)
  mesh = sharding.make_mesh(sharding.MeshConfig(), [device])
  sample = functools.partial(
    ours.sample, experiment, rollout, partition=sharding.partition(mesh)
  )
  jitted = jax.jit(sample, in_shardings=place, out_shardings=place)
  return jitted.lower(params, prompts).compile().as_text()


def least_bytes(
  size: workload.Size, dtype: str, stage: slots_lib.Stage
) -> float:
  """That a step of a loop has to move.

  Args:
    size: of model and step.
    dtype: of parameters, keys and values.
    stage: how many completions the loop decodes, and how long their cache is.
  """
  parameters = size.layers * size.layer_matrix_parameters
  parameters += size.vocab * size.width
  tokens = stage.num_slots * stage.capacity
  tokens += min(stage.num_slots, size.prompts) * size.prompt_tokens
  cached = 2 * size.layers * size.kv_heads * size.head_dim * tokens
  return float((parameters + cached) * jnp.dtype(dtype).itemsize)


def results(
  size: workload.Size, dtype: str, device: jax.Device, slots: int = 0
) -> list[dict[str, Any]]:
  """Of each decoding loop, in their order."""
  text = compiled(size, dtype, device, slots)
  computations, entry = hlo_text.read(text)
  moved = traffic.of_loops(text)
  stages = slots_lib.stages(
    size.sequences, slots or size.sequences, size.completion_tokens
  )
  in_order = [
    moved[traffic.body(x)] for x in computations[entry] if x.opcode == "while"
  ]
  # The decoding loops are the largest.
  largest = sorted(in_order)[-len(stages) :]
  steps = [x for x in in_order if x in largest]
  return [
    {
      "completions": stage.num_slots,
      "capacity": stage.capacity,
      "bytes": found,
      "least_bytes": least_bytes(size, dtype, stage),
    }
    for stage, found in zip(stages, steps, strict=True)
  ]


def table(found: list[dict[str, Any]], chip: chips.Chip | None) -> str:
  """The loops as Markdown."""
  rows = []
  for x in found:
    row = [str(x["completions"]), str(x["capacity"])]
    row += [f"{x[name] / 1e9:.2f}" for name in ("bytes", "least_bytes")]
    row += [f"{x['bytes'] / x['least_bytes']:.2f}"]
    secs = x["bytes"] / (chip.memory_gb_per_sec * 1e9) if chip else None
    rows.append(row + [f"{1e3 * secs:.1f}" if secs else ""])
  head = ["completions", "tokens of the cache", "GB a step", "least", "ratio"]
  return summary.markdown([*head, "ms at best"], rows)


def arguments() -> argparse.ArgumentParser:
  """Flags of the program."""
  flags = measurement.parser(
    __doc__, file="benchmarks/results/decode_traffic.json"
  )
  flags.add_argument("--size", choices=list(workload.SIZES), default="L")
  flags.add_argument("--topology", default="v5p:2x2x1")
  flags.add_argument("--dtype", default="bfloat16", help="computed with")
  flags.add_argument(
    "--slots", type=int, default=0, help="completions at a time (all)"
  )
  return flags


def main() -> None:
  """Compiles, counts and reports."""
  args = arguments().parse_args()
  started = machine.look()
  device = targets.devices_of(args.topology)[0]
  size = workload.SIZES[args.size]
  found = results(size, args.dtype, device, args.slots)
  print(table(found, chips.CHIPS.get(device.device_kind)))
  report = measurement.record(args, started, loops=found)
  report["compiled_for"] = device.device_kind
  measurement.append(args.json, report)


if __name__ == "__main__":
  main()
