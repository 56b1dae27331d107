"""Picking tokens, beside a whole decoding step, at larger vocabularies."""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from benchmarks import measurement
from benchmarks import tables
from benchmarks import workload
from benchmarks.sides import ours
from rlvr_jax.models import cache as cache_lib
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import sampling


def step_parts(
  size: workload.Size, dtype: str, rows: int, capacity: int, steps: int
) -> dict[str, Callable[[], Any]]:
  """Loops of a number of steps: of whole ones, and of each part of them.

  Each part waits for its last step through a condition that never holds, so
  that the compiler moves nothing out of the loop.
  """
  experiment = ours.experiment(size, dtype)
  config = experiment.run.model
  model, params = transformer.Transformer(config), ours.fresh_params(experiment)
  split = jax.random.split(jax.random.key(workload.SEED), 3)
  hidden = jax.random.normal(split[0], (rows, size.width), config.dtype)
  logits = jax.random.normal(split[1], (rows, size.vocab), jnp.float32)
  uniforms = jax.random.uniform(split[2], (steps, rows))
  tokens = jnp.full(rows, workload.UNK_ID + 1, jnp.int32)
  nothing = jnp.zeros(rows, jnp.float32)
  no_draw = sampling.Draw(tokens, nothing, nothing, nothing, nothing)
  cache = cache_lib.empty(config, rows, capacity)
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


def share(draw: float, step: float, layer: float, more_layers: int) -> float:
  """The draw's share of a step that has so many more layers."""
  return draw / (step + more_layers * layer)


def results(
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
  secs = measurement.interleaved(
    step_parts(part, dtype, rows, capacity, steps), rounds
  )
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
    "secs": {name: tables.quartiles(x) for name, x in secs.items()},
    "share": tables.quartiles(secs["draw"] / secs["step"]),
    "share_with_all_layers": share(
      middle["draw"], middle["step"], layer, missing
    ),
  }


def table(found: list[dict[str, Any]]) -> str:
  """The results as text."""
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
