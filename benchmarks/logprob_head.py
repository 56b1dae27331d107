"""The log-probability head beside the matrix products that it is made of.

python -m benchmarks.logprob_head --json=benchmarks/results/logprob_head.json

For each size of the vocabulary, in one process and taking turns: the forward
pass, the forward and backward pass, and their matrix products alone in slices
of the vocabulary (one product; four, since the way back recomputes the
logits). Times are medians, ratios have quartiles. Memory is what the compiler
plans beside arguments and results, ours and with all logits at once.
"""

import json
import pathlib
import time

from absl import app
from absl import flags
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from benchmarks import machine
from kernels.token_logprobs import reference
from rlvr_jax import ops

_ROWS = flags.DEFINE_integer("rows", 1024, "N, tokens.")
_WIDTH = flags.DEFINE_integer("width", 512, "D, of the hidden states.")
_VOCABULARIES = flags.DEFINE_list(
  "vocabularies", ["8192", "32768", "131072", "262144"], "Sizes V."
)
_DTYPE = flags.DEFINE_enum(
  "dtype", "float32", ["float32", "bfloat16"], "Of both operands."
)
_IMPLEMENTATION = flags.DEFINE_string(
  "implementation", "", "Of the head; empty: the default of the device."
)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Passes of each kind.")
_JSON = flags.DEFINE_string("json", "", "Where the JSON goes; empty: nowhere.")
_WARM_UP = 2
_TEMPERATURE = 0.7
# Logits of a slice of the products: in the caches of a CPU, and enough to fill
# an accelerator.
_SLICE_LOGITS = {"cpu": 2**21}
_DEVICE_SLICE_LOGITS = 2**25


def head(hidden, unembedding, targets):
  """The head under test."""
  return ops.token_logprobs(
    hidden,
    unembedding,
    targets,
    temperature=_TEMPERATURE,
    implementation=_IMPLEMENTATION.value or None,
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


def measure(vocab: int) -> dict[str, object]:
  """Times, ratios and memory at one size of the vocabulary."""
  rows, dtype = _ROWS.value, jnp.dtype(_DTYPE.value)
  keys = jax.random.split(jax.random.key(0), 3)
  inputs = (
    jax.random.normal(keys[0], (rows, _WIDTH.value), dtype),
    jax.random.normal(keys[1], (_WIDTH.value, vocab), dtype) / 16,
    jax.random.randint(keys[2], (rows,), 0, vocab),
  )
  most = _SLICE_LOGITS.get(jax.default_backend(), _DEVICE_SLICE_LOGITS)
  width = min(vocab, max(128, most // rows))
  kinds = {
    "product": products(1, width),
    "four_products": products(4, width),
    "forward": head,
    "forward_backward": with_gradients(head),
  }
  compiled = {
    kind: jax.jit(function).lower(*inputs).compile()
    for kind, function in kinds.items()
  }
  plain = jax.jit(with_gradients(all_logits)).lower(*inputs).compile()
  secs = {kind: [] for kind in kinds}
  for _ in range(_ROUNDS.value + _WARM_UP):
    for kind, run in compiled.items():
      started = time.perf_counter()
      jax.block_until_ready(run(*inputs))
      secs[kind].append(time.perf_counter() - started)
  secs = {kind: np.array(x[_WARM_UP:]) for kind, x in secs.items()}
  # The products leave out the columns that fill no slice.
  share = vocab // width * width / vocab
  flops = 2 * rows * _WIDTH.value * vocab
  quartiles = lambda x: [float(q) for q in np.quantile(x, [0.25, 0.5, 0.75])]
  memory = lambda x: x.memory_analysis().temp_size_in_bytes
  return {
    "vocabulary": vocab,
    "secs": {kind: quartiles(x) for kind, x in secs.items()},
    "forward_ratio": quartiles(secs["forward"] * share / secs["product"]),
    "forward_backward_ratio": quartiles(
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


def table(found: list[dict[str, object]]) -> str:
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


def main(argv):
  """Measures and reports."""
  del argv
  started = machine.look()
  found = [measure(int(vocab)) for vocab in _VOCABULARIES.value]
  load = machine.other_load(started)
  if sentence := machine.warning(load):
    print(sentence)
  print(table(found))
  report = {
    "date": time.strftime("%Y-%m-%d"),
    "device": jax.devices()[0].device_kind,
    "machine": machine.description(),
    "versions": machine.versions(("jax", "jaxlib")),
    "other_cpus": load,
    "rows": _ROWS.value,
    "width": _WIDTH.value,
    "dtype": _DTYPE.value,
    "implementation": _IMPLEMENTATION.value or "default",
    "rounds": _ROUNDS.value,
    "results": found,
  }
  if _JSON.value:
    pathlib.Path(_JSON.value).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
  app.run(main)
