"""What the sampler's slots, shared prompts and draw cost and save.

python -m benchmarks.decode --size S --json benchmarks/results/decode.json

Slots: completions that end at a random token, a quarter of the longest on
average. Decoded all at once; with fewer slots, refilled; and in batches of the
same width, one after another, each as long as its longest completion.
Prefix: samples that share the keys and values of their prompt, beside as many
prompts of one sample each.
Draw: picking tokens, beside a whole decoding step, at larger vocabularies.
Kinds take turns in one process; times are medians, quartiles are in the JSON.
"""

import argparse
from collections.abc import Callable, Mapping
import dataclasses
import math
import pathlib
import time
from typing import Any
from unittest import mock

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from benchmarks import machine
from benchmarks import rl_step
from benchmarks import workload
from benchmarks.sides import ours
from benchmarks.sides import side
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import keys
from rlvr_jax import records
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import prefix as prefix_lib
from rlvr_jax.rollouts import sampler
from rlvr_jax.rollouts import sampling

_NEVER = -1e9
# Of the longest completion: what the completions have on average.
_MEAN_SHARE = 0.25
_MIB = 2**20


def interleaved(
  kinds: Mapping[str, Callable[[], Any]], rounds: int
) -> dict[str, np.ndarray]:
  """Seconds of each call, f64[rounds]; a first round of all is not counted.

  Every other round runs in the other order, so that none always follows the
  same one.
  """
  secs = {name: [] for name in kinds}
  for number in range(rounds + 1):
    for name in kinds if number % 2 else reversed(kinds):
      started = time.perf_counter()
      jax.block_until_ready(kinds[name]())
      secs[name].append(time.perf_counter() - started)
  return {name: np.array(x[1:]) for name, x in secs.items()}


def quartiles(values: np.ndarray) -> list[float]:
  """Lower quartile, median, upper quartile."""
  return [float(x) for x in np.quantile(values, [0.25, 0.5, 0.75])]


def record(
  args: argparse.Namespace, started: machine.Look, **results: Any
) -> dict[str, Any]:
  """Results, and what they were measured on."""
  load = machine.other_load(started)
  if sentence := machine.warning(load):
    print(sentence)
  return {
    "date": time.strftime("%Y-%m-%d"),
    "device": jax.devices()[0].device_kind,
    "machine": machine.description(),
    "versions": machine.versions(ours.PACKAGES),
    "other_cpus": load,
    "flags": {k: v for k, v in vars(args).items() if k != "json"},
    **results,
  }


def finish(path: str, report: dict[str, Any]) -> None:
  """Adds a record to the list in a file; "" for nowhere."""
  if path:
    rl_step.append(pathlib.Path(path), report)


def fresh_params(experiment: experiment_lib.Experiment) -> Any:
  """A new model; the compiler leaves its optimizer out."""
  return jax.jit(lambda: ours.fresh_state(experiment).params)()


def logit_bias(vocab: int, stop_probability: float) -> np.ndarray:
  """f32[V] that, added to equal logits, makes them stop so often.

  Pads and unknowns are never drawn; the other tokens share the rest evenly.
  """
  bias = np.zeros(vocab, np.float32)
  bias[list(workload.NEVER_SAMPLED)] = _NEVER
  others = vocab - len(workload.NEVER_SAMPLED)
  if stop_probability:
    odds = stop_probability / (1 - stop_probability)
    bias[workload.EOS_ID] = math.log(odds * others)
  return bias


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


def sample(
  experiment: experiment_lib.Experiment,
  config: sampler.SamplerConfig,
  params: Any,
  prompts: records.PromptBatch,
  stop_probability: float,
) -> records.RolloutBatch:
  """The sampler on the workload's prompts."""
  run = experiment.run
  bias = logit_bias(run.model.vocab_size, stop_probability)
  return sampler.generate(
    transformer.Transformer(run.model),
    params,
    prompts,
    keys.stream_key(run.seed, "sample", 0),
    config=config,
    stop_ids=(workload.EOS_ID,),
    pad_id=workload.PAD_ID,
    logit_bias=jnp.asarray(bias),
  )


def slots_results(
  size: workload.Size, dtype: str, widths: list[int], rounds: int
) -> dict[str, Any]:
  """Completions of many lengths: refilled slots and batches of that width."""
  experiment = ours.experiment(size, dtype)
  params = with_equal_logits(fresh_params(experiment))
  prompts = ours.prompt_batch(size, 0)
  stop_probability = 1 / (_MEAN_SHARE * size.completion_tokens)

  def counted(slots: int):
    config = dataclasses.replace(experiment.run.rollout, slots=slots)

    def run(params, prompts):
      x = sample(experiment, config, params, prompts, stop_probability)
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
  secs = interleaved(kinds, rounds)
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
        "secs": quartiles(secs[name]),
        "tokens": int(tokens),
        "tokens_per_sec": tokens / float(np.median(secs[name])),
        "idle_share": 1 - tokens / steps,
        "throughput_ratio": quartiles(base / secs[name]),
      }
    )
    if kind == "refilled":
      beside = secs[f"batches {width}"]
      found[-1]["ratio_to_batches"] = quartiles(beside / secs[name])
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


def slots_table(found: dict[str, Any]) -> str:
  """The first table."""
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


def prefix_results(
  size: workload.Size, dtype: str, rounds: int
) -> dict[str, Any]:
  """Prompts that samples share, beside a copy of the prompt for each."""
  experiment = ours.experiment(size, dtype)
  params = fresh_params(experiment)
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
      return sample(experiment, config, params, prompts, 0.0)

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
  secs = interleaved(kinds, rounds)
  for name, x in found.items():
    x["prefill_secs"] = quartiles(secs[f"{name} prefill"])
    x["decode_secs"] = quartiles(secs[f"{name} decode"])
  ratio = lambda part: quartiles(
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


def prefix_table(found: dict[str, Any]) -> str:
  """The second table."""
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


def step_parts(
  size: workload.Size, dtype: str, rows: int, capacity: int, steps: int
) -> dict[str, Callable[[], Any]]:
  """Loops of a number of steps: of whole ones, and of each part of them.

  Each part waits for its last step through a condition that never holds, so
  that the compiler moves nothing out of the loop.
  """
  experiment = ours.experiment(size, dtype)
  config = experiment.run.model
  model, params = transformer.Transformer(config), fresh_params(experiment)
  split = jax.random.split(jax.random.key(workload.SEED), 3)
  hidden = jax.random.normal(split[0], (rows, size.width), config.dtype)
  logits = jax.random.normal(split[1], (rows, size.vocab), jnp.float32)
  uniforms = jax.random.uniform(split[2], (steps, rows))
  tokens = jnp.full(rows, workload.UNK_ID + 1, jnp.int32)
  nothing = jnp.zeros(rows, jnp.float32)
  no_draw = sampling.Draw(tokens, nothing, nothing, nothing, nothing)
  cache = transformer.empty_cache(config, rows, capacity)
  mask = jnp.ones((rows, 1, capacity), bool)

  def layers_of(params, i, tokens, cache):
    position = jnp.full((rows, 1), capacity + i)
    hidden, cache = model.apply(
      {"params": params},
      tokens[:, None],
      position,
      mask,
      cache=cache,
      index=i % capacity,
    )
    return hidden[:, 0], cache

  def draw_of(logits, i, last):
    temperature = jnp.where(last.logprobs > 1.0, 2.0, 1.0)
    return sampling.draw(logits, uniforms[i], temperature=temperature)

  def logits_of(hidden, unembedding):
    return jnp.dot(hidden, unembedding, preferred_element_type=jnp.float32)

  # Laid out once: the sampler's loops do so too, but over many more steps.
  unembedding = jax.jit(
    lambda params: model.apply({"params": params}, method="unembedding")
  )(params)
  add = lambda a, b: jax.tree.map(jnp.add, a, b)

  @jax.jit
  def draw(logits):
    one = lambda i, last: draw_of(logits, i, last)
    return lax.fori_loop(0, steps, one, no_draw)

  @jax.jit
  def head(unembedding, hidden, logits):
    one = lambda i, last: logits_of(
      jnp.where(last[:, :1] > 1e30, 1.0, hidden).astype(hidden.dtype),
      unembedding,
    )
    return lax.fori_loop(0, steps, one, logits)

  @jax.jit
  def layers(params, hidden, cache):
    def one(i, carry):
      last, cache = carry
      chosen = jnp.where(last[:, 0] > 1e30, workload.UNK_ID, tokens)
      return layers_of(params, i, chosen, cache)

    return lax.fori_loop(0, steps, one, (hidden, cache))

  @jax.jit
  def whole(params, unembedding, hidden, cache):
    def one(i, carry):
      hidden, cache, seen = carry
      drawn = draw_of(logits_of(hidden, unembedding), i, seen)
      hidden, cache = layers_of(params, i, drawn.tokens, cache)
      return hidden, cache, add(seen, drawn)

    return lax.fori_loop(0, steps, one, (hidden, cache, no_draw))

  return {
    "step": lambda: whole(params, unembedding, hidden, cache),
    "draw": lambda: draw(logits),
    "head": lambda: head(unembedding, hidden, logits),
    "layers": lambda: layers(params, hidden, cache),
  }


def draw_share(
  draw: float, step: float, layer: float, more_layers: int
) -> float:
  """The draw's share of a step that has so many more layers."""
  return draw / (step + more_layers * layer)


def draw_results(
  size: workload.Size,
  dtype: str,
  *,
  layers: int,
  rows: int,
  capacity: int,
  steps: int,
  rounds: int,
) -> dict[str, Any]:
  """The draw beside a step of the first layers of a model."""
  part = dataclasses.replace(size, layers=min(layers, size.layers))
  secs = interleaved(step_parts(part, dtype, rows, capacity, steps), rounds)
  secs = {name: x / steps for name, x in secs.items()}
  middle = {name: float(np.median(x)) for name, x in secs.items()}
  layer, missing = middle["layers"] / part.layers, size.layers - part.layers
  return {
    "size": size.name,
    "vocabulary": size.vocab,
    "width": size.width,
    "rows": rows,
    "capacity": capacity,
    "layers": part.layers,
    "all_layers": size.layers,
    "secs": {name: quartiles(x) for name, x in secs.items()},
    "share": quartiles(secs["draw"] / secs["step"]),
    "share_with_all_layers": draw_share(
      middle["draw"], middle["step"], layer, missing
    ),
  }


def draw_table(found: list[dict[str, Any]]) -> str:
  """The third table."""
  lines = [
    f"{'V':>7} {'width':>6} {'rows':>5} {'draw':>10} {'head':>10}"
    f" {'layers':>10} {'of':>7} {'step':>10} {'share':>6} {'with all':>8}"
  ]
  for x in found:
    line = f"{x['vocabulary']:>7} {x['width']:>6} {x['rows']:>5}"
    for part in ("draw", "head", "layers"):
      line += f" {x['secs'][part][1] * 1e3:>7.2f} ms"
    lines.append(
      f"{line} {x['layers']:>3}/{x['all_layers']:<3}"
      f" {x['secs']['step'][1] * 1e3:>7.2f} ms {x['share'][1]:>6.1%}"
      f" {x['share_with_all_layers']:>8.1%}"
    )
  lines.append(
    "with all: the draw's share if all layers were there, each of which takes"
    " as long as those measured"
  )
  return "\n".join(lines)


def arguments() -> argparse.ArgumentParser:
  """Flags of the program."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  number = lambda name, default, text: parser.add_argument(
    name, type=int, default=default, help=f"{text} ({default})"
  )
  parser.add_argument("--size", choices=list(workload.SIZES), default="S")
  parser.add_argument(
    "--dtype",
    choices=("auto", "float32", "bfloat16"),
    default="auto",
    help="auto: float32 on a CPU, bfloat16 elsewhere",
  )
  parser.add_argument(
    "--parts",
    nargs="+",
    choices=("slots", "prefix", "draw"),
    default=["slots", "prefix", "draw"],
    help="what is measured (all)",
  )
  number("--rounds", 7, "calls of each kind")
  number("--samples", 8, "completions of a prompt")
  number("--prompts", 64, "slots: prompts")
  number("--prompt-tokens", 32, "slots: longest prompt")
  number("--completion-tokens", 64, "slots: longest completion")
  parser.add_argument(
    "--slots",
    type=int,
    nargs="+",
    default=[256, 128, 64, 32],
    help="slots: widths beside all at once (256 128 64 32)",
  )
  number("--prefix-prompts", 2, "prefix: prompts")
  number("--prefix-prompt-tokens", 1024, "prefix: longest prompt")
  number("--prefix-completion-tokens", 32, "prefix: completion")
  parser.add_argument(
    "--draw-sizes",
    nargs="+",
    choices=list(workload.SIZES),
    default=["M", "L"],
    help="draw: whose vocabularies and widths (M L)",
  )
  number("--draw-layers", 12, "draw: most layers of a model; others are added")
  number("--draw-rows", 64, "draw: rows of a step")
  number("--draw-capacity", 128, "draw: cached tokens of a row")
  number("--draw-steps", 4, "draw: steps of a call")
  parser.add_argument(
    "--json",
    default="benchmarks/results/decode.json",
    help="list that the result joins; empty: nowhere",
  )
  return parser


def main() -> None:
  """Measures and reports."""
  args = arguments().parse_args()
  size = dataclasses.replace(
    workload.SIZES[args.size], samples=args.samples, micro_batches=1
  )
  for width in args.slots:
    if width < 1 or width % args.samples or args.prompts * args.samples % width:
      raise SystemExit(
        f"--slots has {width}: name divisors of the"
        f" {args.prompts * args.samples} completions that are multiples of"
        f" --samples ({args.samples})"
      )
  dtype = side.dtype_of(args, jax.default_backend() == "cpu")
  started, results = machine.look(), {}
  if "slots" in args.parts:
    varied = dataclasses.replace(
      size,
      prompts=args.prompts,
      prompt_tokens=args.prompt_tokens,
      completion_tokens=args.completion_tokens,
    )
    results["slots"] = slots_results(varied, dtype, args.slots, args.rounds)
    print(slots_table(results["slots"]), end="\n\n", flush=True)
  if "prefix" in args.parts:
    long = dataclasses.replace(
      size,
      prompts=args.prefix_prompts,
      prompt_tokens=args.prefix_prompt_tokens,
      completion_tokens=args.prefix_completion_tokens,
    )
    results["prefix"] = prefix_results(long, dtype, args.rounds)
    print(prefix_table(results["prefix"]), end="\n\n", flush=True)
  if "draw" in args.parts:
    results["draw"] = [
      draw_results(
        workload.SIZES[name],
        dtype,
        layers=args.draw_layers,
        rows=args.draw_rows,
        capacity=args.draw_capacity,
        steps=args.draw_steps,
        rounds=args.rounds,
      )
      for name in args.draw_sizes
    ]
    print(draw_table(results["draw"]))
  finish(args.json, record(args, started, dtype=dtype, **results))


if __name__ == "__main__":
  main()
