"""What a TPU's compiler expects the layers of an update to take.

python -m benchmarks.layer_cycles --topology v5p:2x2x1 --size L

Compiles the layers of a micro-batch, forward and back, for a TPU that need not
be there: prompts, and completions behind them. XLA notes how many cycles it
expects of each operation; matrix products are what a layer has to do, and the
rest rewrites what lies between them. Pallas kernels, here attention, bear no
such note and are left out. An estimate of the compiler, not a measurement.
"""

import argparse
from collections.abc import Mapping
import dataclasses
import re

from flax import linen as nn
import jax
import jax.numpy as jnp

from benchmarks import machine
from benchmarks import measurement
from benchmarks import traffic
from benchmarks import workload
from benchmarks.sides import ours
from rlvr_jax import records
from rlvr_jax import sharding
from rlvr_jax import summary
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import scoring
from rlvr_jax.sizing import costs
from rlvr_jax.sizing import hlo_text
from rlvr_jax.sizing import targets

_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
# What stands where there is no estimate.
_UNKNOWN = 2**63 - 1
_PRODUCTS = {"convolution", "dot"}


def compiled(
  size: workload.Size, num_rows: int, dtype: str, device: jax.Device
) -> str:
  """Text of the scores' gradient, for a micro-batch of so many rows."""
  config = ours.experiment(size, dtype, remat="full").run.model
  config = dataclasses.replace(config, scan_layers=True)
  mesh = sharding.make_mesh(sharding.MeshConfig(), [device])
  model = transformer.Transformer(config, sharding.partition(mesh))
  place = jax.sharding.SingleDeviceSharding(device)
  shape = lambda *of, dtype: jax.ShapeDtypeStruct(of, dtype, sharding=place)
  params = jax.tree.map(
    lambda x: shape(*x.shape, dtype=x.dtype),
    nn.unbox(
      jax.eval_shape(lambda: transformer.init_params(config, jax.random.key(0)))
    ),
  )
  num_prompts = num_rows // size.samples
  prompts = records.PromptBatch(
    prompt_tokens=shape(num_prompts, size.prompt_tokens, dtype="int32"),
    prompt_mask=shape(num_prompts, size.prompt_tokens, dtype="float32"),
    prompt_ids=shape(num_prompts, dtype="int32"),
    answers={},
  )
  completions = shape(num_rows, size.completion_tokens, dtype="int32")

  def total(params, prompts, completions):
    scores = scoring.score_completions(model, params, prompts, completions)
    return jnp.sum(scores.logprobs)

  gradient = jax.jit(jax.value_and_grad(total))
  return gradient.lower(params, prompts, completions).compile().as_text()


def of_layers(text: str) -> dict[str, dict[str, int]]:
  """Cycles of one round of the loops over layers, forward and back.

  Returns:
    {"forward": {"products", "rest", "operations"}, "back": the same}, where
    "operations" counts those that bear an estimate.
  """
  computations, _ = hlo_text.read(text)
  found = {way: dict(products=0, rest=0, operations=0) for way in _WAYS}
  for inside in computations.values():
    for loop in inside:
      way = loop.opcode == "while" and _way(loop.rest)
      if way:
        _add(found[way], computations, traffic.body(loop))
  return found


_WAYS = ("forward", "back")


def _way(rest: str) -> str | None:
  """Which way a loop goes over the layers; None for another loop."""
  if "transpose(jvp(Transformer))/while" in rest:
    return "back"
  return "forward" if "jvp(Transformer)/while" in rest else None


def _add(
  total: dict[str, int],
  computations: Mapping[str, list[hlo_text.Instruction]],
  name: str,
) -> None:
  for x in computations[name]:
    called = costs.called_by(x)
    if called and x.opcode != "fusion":
      _add(total, computations, called)
    noted = _CYCLES.search(x.rest)
    cycles = int(noted[1]) if noted else _UNKNOWN
    if cycles < _UNKNOWN:
      kind = "products" if _multiplies(x, computations) else "rest"
      total[kind] += cycles
      total["operations"] += 1


def _multiplies(x: hlo_text.Instruction, computations) -> bool:
  if x.opcode == "fusion":
    inside = computations[costs.called_by(x)]
    return any(_multiplies(y, computations) for y in inside)
  return x.opcode in _PRODUCTS


def table(found: Mapping[str, Mapping[str, int]]) -> str:
  """The ways as Markdown."""
  rows = []
  for way, x in found.items():
    whole = x["products"] + x["rest"]
    cells = [f"{n / 1e6:.2f}" for n in (whole, x["products"])]
    rows.append([way, *cells, f"{whole / max(x['products'], 1):.2f}"])
  head = ["a layer", "M cycles", "with a matrix product", "ratio"]
  return summary.markdown(head, rows)


def arguments() -> argparse.ArgumentParser:
  """Flags of the program."""
  flags = measurement.parser(
    __doc__, file="benchmarks/results/layer_cycles.json"
  )
  flags.add_argument("--size", choices=list(workload.SIZES), default="L")
  flags.add_argument("--topology", default="v5p:2x2x1")
  flags.add_argument("--dtype", default="bfloat16", help="computed with")
  flags.add_argument("--rows", type=int, default=16, help="of a micro-batch")
  return flags


def main() -> None:
  """Compiles, counts and reports."""
  args = arguments().parse_args()
  started = machine.look()
  device = targets.devices_of(args.topology)[0]
  text = compiled(workload.SIZES[args.size], args.rows, args.dtype, device)
  found = of_layers(text)
  print(table(found))
  report = measurement.record(args, started, layers=found)
  report["compiled_for"] = device.device_kind
  measurement.append(args.json, report)


if __name__ == "__main__":
  main()
