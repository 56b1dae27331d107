"""The log-probability head beside the matrix products that it is made of.

python -m benchmarks.logprob_head --json benchmarks/results/logprob_head.json

For each size of the vocabulary, in one process and taking turns: the forward
pass, the forward and backward pass, and their matrix products alone in slices
of the vocabulary (one product; four, since the way back recomputes the
logits). Times are medians, ratios have quartiles. Memory is what the compiler
plans beside arguments and results, ours and with all logits at once.
"""

import argparse
from collections.abc import Callable
import functools
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from benchmarks import machine
from benchmarks import measurement
from benchmarks import tables
from benchmarks.sides import side
from rlvr_jax import ops
from rlvr_jax.kernels.token_logprobs import reference

_TEMPERATURE = 0.7
# Logits of a slice of the products: in the caches of a CPU, and enough to fill
# an accelerator.
_SLICE_LOGITS = {"cpu": 2**21}
_DEVICE_SLICE_LOGITS = 2**25


def head(hidden, unembedding, targets, *, implementation: str = ""):
  """The head under test; without a name that of the device."""
  return ops.token_logprobs(
    hidden,
    unembedding,
    targets,
    temperature=_TEMPERATURE,
    implementation=implementation or None,
  )


def all_logits(hidden, unembedding, targets):
  """The same numbers from f32[N, V]."""
  temperature = jnp.float32(_TEMPERATURE)
  return reference.token_logprobs(hidden, unembedding, targets, temperature)


def with_gradients(function):
  """A sum of the statistics, and its gradients."""

  def total(*inputs):
    logprobs, entropies, means, log_normalizers = function(*inputs)
    return jnp.sum(logprobs + 0.1 * entropies + 0.1 * means - log_normalizers)

  return jax.value_and_grad(total, argnums=(0, 1))


def products(number: int, width: int):
  """One product of every slice, or the four that gradients take."""
  # Kept whole by the compiler, though one entry is all that is used.
  keep = lambda x: lax.optimization_barrier(x)
  multiply = lambda a, b: keep(
    jnp.dot(a, b, preferred_element_type=jnp.float32)
  )

  def run(hidden, unembedding, targets):
    del targets

    def one_slice(i, total):
      columns = lax.dynamic_slice_in_dim(unembedding, i * width, width, axis=1)
      logits = multiply(hidden, columns)
      total += logits[0, 0]
      if number == 1:
        return total
      grads = multiply(keep(hidden), columns).astype(hidden.dtype)
      total += multiply(grads, columns.T)[0, 0]
      return total + multiply(hidden.T, grads)[0, 0]

    slices = unembedding.shape[1] // width
    return lax.fori_loop(0, slices, one_slice, jnp.float32(0))

  return run


def measure(
  vocab: int,
  forward: Callable,
  *,
  rows: int,
  width: int,
  dtype: str,
  rounds: int,
) -> dict[str, Any]:
  """Times, ratios and memory at one size of the vocabulary."""
  keys = jax.random.split(jax.random.key(0), 3)
  inputs = (
    jax.random.normal(keys[0], (rows, width), dtype),
    jax.random.normal(keys[1], (width, vocab), dtype) / 16,
    jax.random.randint(keys[2], (rows,), 0, vocab),
  )
  most = _SLICE_LOGITS.get(jax.default_backend(), _DEVICE_SLICE_LOGITS)
  columns = min(vocab, max(128, most // rows))
  kinds = {
    "product": products(1, columns),
    "four_products": products(4, columns),
    "forward": forward,
    "forward_backward": with_gradients(forward),
  }
  compiled = {
    kind: jax.jit(function).lower(*inputs).compile()
    for kind, function in kinds.items()
  }
  plain = jax.jit(with_gradients(all_logits)).lower(*inputs).compile()
  secs = measurement.interleaved(
    {k: functools.partial(run, *inputs) for k, run in compiled.items()}, rounds
  )
  # The products leave out the columns that fill no slice.
  share = vocab // columns * columns / vocab
  flops = 2 * rows * width * vocab
  memory = lambda x: x.memory_analysis().temp_size_in_bytes
  return {
    "vocabulary": vocab,
    "secs": {kind: tables.quartiles(x) for kind, x in secs.items()},
    "forward_ratio": tables.quartiles(
      secs["forward"] * share / secs["product"]
    ),
    "forward_backward_ratio": tables.quartiles(
      secs["forward_backward"] * share / secs["four_products"]
    ),
    "product_flops_per_sec": float(flops * share / np.median(secs["product"])),
    "forward_flops_per_sec": float(flops / np.median(secs["forward"])),
    "forward_backward_flops_per_sec": float(
      4 * flops / np.median(secs["forward_backward"])
    ),
    "forward_temp_bytes": memory(compiled["forward"]),
    "forward_backward_temp_bytes": memory(compiled["forward_backward"]),
    "all_logits_temp_bytes": memory(plain),
  }


def table(found: list[dict[str, Any]]) -> str:
  """The results, a line for each vocabulary."""
  peak = max(x["product_flops_per_sec"] for x in found)
  lines = [
    f"{'V':>7} {'forward':>10} {'ratio':>6} {'of peak':>8}"
    f" {'and back':>10} {'ratio':>6} {'of peak':>8}"
    f" {'memory':>10} {'all logits':>11}"
  ]
  for x in found:
    line = f"{x['vocabulary']:>7}"
    for kind in ("forward", "forward_backward"):
      line += (
        f" {x['secs'][kind][1] * 1e3:>7.2f} ms {x[f'{kind}_ratio'][1]:>6.2f}"
        f" {x[f'{kind}_flops_per_sec'] / peak:>8.0%}"
      )
    ours = x["forward_backward_temp_bytes"] / 2**20
    plain = x["all_logits_temp_bytes"] / 2**20
    lines.append(f"{line} {ours:>6.1f} MiB {plain:>7.1f} MiB")
  lines.append(
    f"peak: the fastest product of this run, {peak / 1e12:.3g} TFLOP/s"
  )
  return "\n".join(lines)


def arguments() -> argparse.ArgumentParser:
  """Flags of the program."""
  flags = measurement.parser(__doc__, rounds=7, dtype=True)
  measurement.integer(flags, "--rows", 1024, "N, tokens")
  measurement.integer(flags, "--width", 512, "D, of the hidden states")
  flags.add_argument(
    "--vocabularies",
    type=int,
    nargs="+",
    default=[8192, 32768, 131072, 262144],
    help="sizes V (8192 32768 131072 262144)",
  )
  flags.add_argument(
    "--implementation",
    default="",
    help="of the head; empty: the default of the device",
  )
  return flags


def main() -> None:
  """Measures and reports."""
  args = arguments().parse_args()
  dtype = side.dtype_of(args, jax.default_backend() == "cpu")
  forward = functools.partial(head, implementation=args.implementation)
  started = machine.look()
  found = [
    measure(
      vocab,
      forward,
      rows=args.rows,
      width=args.width,
      dtype=dtype,
      rounds=args.rounds,
    )
    for vocab in args.vocabularies
  ]
  print(table(found))
  report = measurement.record(args, started, dtype=dtype, results=found)
  measurement.append(args.json, report)


if __name__ == "__main__":
  main()
