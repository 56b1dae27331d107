"""Sampling completions: prompts read once, then compiled decoding loops."""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Any

from flax import struct
import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import keys as keys_lib
from rlvr_jax import ops
from rlvr_jax import parts
from rlvr_jax import records
from rlvr_jax import settings
from rlvr_jax.models import cache as cache_lib
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import prefix as prefix_lib
from rlvr_jax.rollouts import sampling
from rlvr_jax.rollouts import slots as slots_lib


@dataclasses.dataclass(frozen=True)
class SamplerConfig:
  """How completions are drawn.

  Example: SamplerConfig(num_generations=8, completion_tokens=20).
  """

  # Completions of each prompt.
  num_generations: int
  # Length of the completion bucket, the end token included.
  completion_tokens: int
  # Divides the logits; 0 takes the most likely token.
  temperature: float = 1.0
  # Keep the k most likely tokens; 0 keeps all.
  top_k: int = 0
  # Keep the smallest set of tokens that holds this probability mass.
  top_p: float = 1.0
  # Keep tokens at least this fraction as likely as the most likely one.
  min_p: float = 0.0
  # Completions decoded at a time; where one has ended, the next takes its
  # slot. 0 decodes all at once: best where lengths are alike, since the rows
  # of a prompt then read its keys and values together.
  slots: int = 0
  # Completions sampled at a time, one pass after another, where all at once do
  # not fit: those of some prompts, or some of every prompt's where a pass has
  # too few prompts for all devices. 0 takes all.
  rows_per_pass: int = 0

  def __post_init__(self):
    for name in ("slots", "rows_per_pass"):
      value = getattr(self, name)
      settings.require(
        value >= 0, f"config.rollout.{name} is {value}: set it to 0 or more"
      )


@struct.dataclass
class _Rows:
  """What is to be sampled.

  Attributes:
    prompts: G prompts.
    sample_index: i32[B], number of a sample within its prompt.
    temperature: f32[B].
  """

  prompts: records.PromptBatch
  sample_index: jax.Array
  temperature: jax.Array


@struct.dataclass
class _Log:
  """What was drawn, in the order of drawing.

  Attributes:
    rows: i32[L, S], the rollout; B where a slot was idle.
    ages: i32[L, S], position of the token in its completion.
    draws: of [L, S] each.
  """

  rows: jax.Array
  ages: jax.Array
  draws: sampling.Draw


@struct.dataclass
class _Loop:
  """Carry of the decoding loops.

  Attributes:
    step: i32[], steps taken.
    slots: what is being decoded.
    hidden: float[S, D], what the next token of each slot is drawn from.
    cache: keys and values of the slots.
    prompts: those of the slots' prompts; None where the slots of a prompt lie
      together and read them once.
    log: what was drawn.
    slot_steps: i32[], slots times steps taken.
  """

  step: jax.Array
  slots: slots_lib.Slots
  hidden: jax.Array
  cache: cache_lib.Cache
  prompts: cache_lib.Cache | None
  log: _Log
  slot_steps: jax.Array


def generate(
  model: transformer.Transformer,
  params: Any,
  prompts: records.PromptBatch,
  key: jax.Array,
  *,
  config: SamplerConfig,
  stop_ids: Sequence[int],
  pad_id: int,
  temperature: jax.Array | float | None = None,
  logit_bias: jax.Array | None = None,
) -> records.RolloutBatch:
  """Samples `num_generations` completions of every prompt.

  A draw is a function of (key, prompt id, sample index, position): neither
  the other rows of the batch nor its layout or number of slots change it.

  Args:
    model: the transformer.
    params: its parameters.
    prompts: G prompts.
    key: key of this step, from `keys.stream_key`.
    config: lengths and truncation; static.
    stop_ids: every token that ends a completion.
    pad_id: what fills the rest of a row.
    temperature: overrides the configured one, f32[] or f32[B]; 0 is greedy.
    logit_bias: f32[V], added to the logits before the temperature divides
      them: -100 suppresses a token. All log-probabilities are then those of
      the biased policy, so such rollouts are to be looked at, not trained on.

  Returns:
    RolloutBatch with B = G * num_generations rows, prompt-major.

  Raises:
    errors.UserError: if the passes asked for do not divide the rows evenly.
  """
  if temperature is None:
    temperature = config.temperature
  num_prompts, samples = prompts.prompt_ids.shape[0], config.num_generations
  num_rows = num_prompts * samples
  rows = _Rows(
    prompts,
    sample_index=jnp.arange(num_rows, dtype=jnp.int32) % samples,
    temperature=jnp.broadcast_to(jnp.asarray(temperature), (num_rows,)),
  )
  model, params = transformer.gathered(*transformer.unrolled(model, params))
  partition = model.partition
  spread = partition and partition.num_row_parts > 1
  if spread and partition.divides(num_prompts):
    sample = _on_each_device(model, config, stop_ids, pad_id)
  else:
    sample = functools.partial(_in_passes, model, config, stop_ids, pad_id)
  found = sample(params, key, logit_bias, rows)
  groups = jnp.arange(num_prompts, dtype=jnp.int32)
  return found.replace(prompts=prompts, group_ids=jnp.repeat(groups, samples))


def _on_each_device(model, config: SamplerConfig, stop_ids, pad_id) -> Callable:
  """`_in_passes`, where every device samples the rows of its own prompts."""
  partition = model.partition
  share = lambda x: -(-x // partition.num_row_parts)
  config = dataclasses.replace(
    config,
    slots=share(config.slots),
    rows_per_pass=share(config.rows_per_pass),
  )
  model = model.clone(partition=ops.of_each(partition, partition.rows))

  def sample(*args) -> records.RolloutBatch:
    found = _in_passes(model, config, stop_ids, pad_id, *args)
    # Who is done waits for the last.
    steps = lax.pmax(found.decode_steps, partition.rows)
    return found.replace(decode_steps=steps)

  return ops.each(sample, partition, partition.rows, num_shared=3)


def _in_passes(
  model, config: SamplerConfig, stop_ids, pad_id, params, key, bias, rows: _Rows
) -> records.RolloutBatch:
  """Samples some rows after others."""
  samples, num_prompts = (
    config.num_generations,
    rows.prompts.prompt_ids.shape[0],
  )
  into = parts.Division(num_prompts, 1, 1)
  if config.rows_per_pass:
    num_passes, rest = divmod(num_prompts * samples, config.rows_per_pass)
    into = None
    if num_passes and not rest:
      into = parts.even_division(num_passes, num_prompts, samples)
  settings.require(
    into is not None,
    f"config.rollout.rows_per_pass gives a device {config.rows_per_pass} rows"
    f" at a time, which do not divide its {num_prompts} prompts with {samples}"
    f" samples evenly: choose a divisor of {num_prompts} times one of"
    f" {samples}, times the devices that have rows",
  )
  config = dataclasses.replace(
    config, num_generations=samples // into.by_samples, rows_per_pass=0
  )
  sample = functools.partial(
    _at_once, model, config, stop_ids, pad_id, params, key, bias
  )
  if into.num_parts == 1:
    return sample(rows)
  found = lax.map(
    sample,
    _Rows(
      jax.tree.map(lambda x: parts.split_prompts(x, into), rows.prompts),
      parts.split_rows(rows.sample_index, into),
      parts.split_rows(rows.temperature, into),
    ),
  )
  return jax.tree.map(lambda x: parts.joined_rows(x, into), found)


def _at_once(
  model, config: SamplerConfig, stop_ids, pad_id, params, key, bias, rows: _Rows
) -> records.RolloutBatch:
  """Samples; the rollouts without their prompts."""
  samples, num_tokens = config.num_generations, config.completion_tokens
  prefix = prefix_lib.read_prompts(model, params, rows.prompts)
  num_rows = rows.sample_index.shape[0]
  num_slots = min(config.slots or num_rows, num_rows)
  group_ids = jnp.arange(num_rows, dtype=jnp.int32) // samples
  prompt_ids = jnp.repeat(rows.prompts.prompt_ids, samples)
  uniforms = keys_lib.position_uniforms(
    keys_lib.row_keys(key, prompt_ids, rows.sample_index), num_tokens
  )
  stops = jnp.asarray(stop_ids, jnp.int32)
  unembedding = model.apply({"params": params}, method="unembedding")
  bias = 0.0 if bias is None else bias[None]

  def decode(loop: _Loop, capacity: int) -> _Loop:
    numbers, ages = loop.slots.rows, loop.slots.ages
    # Idle slots, whose row is no row, do as the last one does.
    of_slots = lambda x: jnp.take(x, numbers, axis=0, mode="clip")
    drawn = sampling.draw(
      jnp.dot(loop.hidden, unembedding, preferred_element_type=jnp.float32)
      + bias,
      uniforms.at[numbers, ages].get(mode="clip"),
      temperature=of_slots(rows.temperature),
      top_k=config.top_k,
      top_p=config.top_p,
      min_p=config.min_p,
    )
    write = lambda lines, line: lax.dynamic_update_slice(
      lines, line[None].astype(lines.dtype), (loop.step, 0)
    )
    prompt_of_slot = of_slots(group_ids)
    prompts, prompt_mask = loop.prompts, prefix.mask
    if prompts is not None:
      begins = (ages == 0) & slots_lib.is_active(loop.slots, num_rows)
      prompts = cache_lib.with_rows(
        prompts, prefix.cache, prompt_of_slot, begins
      )
      prompt_mask = prompt_mask[prompt_of_slot]
    hidden, cache = model.apply(
      {"params": params},
      drawn.tokens[:, None],
      (prefix.lengths[prompt_of_slot] + ages)[:, None],
      slots_lib.own_columns(loop.step, ages, capacity)[:, None],
      prefix=prefix.cache if prompts is None else prompts,
      prefix_mask=prompt_mask,
      cache=loop.cache,
      index=loop.step % capacity,
    )
    ended = jnp.isin(drawn.tokens, stops) | (ages + 1 == num_tokens)
    slots, begins = slots_lib.refilled(loop.slots, ended, num_rows)
    new = prefix.last_hidden[
      jnp.take(group_ids, slots.rows, axis=0, mode="clip")
    ]
    return _Loop(
      step=loop.step + 1,
      slots=slots,
      hidden=jnp.where(begins[:, None], new, hidden[:, 0]),
      cache=cache,
      prompts=prompts,
      log=jax.tree.map(write, loop.log, _Log(numbers, ages, drawn)),
      slot_steps=loop.slot_steps + numbers.shape[0],
    )

  def run(loop: _Loop, stage: slots_lib.Stage) -> _Loop:
    def goes_on(loop: _Loop) -> jax.Array:
      active = jnp.sum(slots_lib.is_active(loop.slots, num_rows))
      waits = loop.slots.queue < num_rows
      return (loop.step < stage.last_step) & (
        waits | (active > stage.least_active)
      )

    return lax.while_loop(
      goes_on, lambda loop: decode(loop, stage.capacity), loop
    )

  stages = slots_lib.stages(num_rows, num_slots, num_tokens)
  limit = slots_lib.max_steps(num_rows, num_slots, num_tokens)
  lines = jnp.zeros((limit, num_slots), jnp.float32)
  nowhere = jnp.full(lines.shape, num_rows, jnp.int32)
  slots = slots_lib.first(num_rows, num_slots)
  # With a slot for every row, those of a prompt lie together.
  prompts = None
  if num_slots < num_rows:
    prompt_tokens = prefix.mask.shape[1]
    prompts = cache_lib.empty(model.config, num_slots, prompt_tokens)
  loop = _Loop(
    step=jnp.zeros((), jnp.int32),
    slots=slots,
    hidden=prefix.last_hidden[group_ids[slots.rows]],
    cache=cache_lib.empty(model.config, num_slots, stages[0].capacity),
    prompts=prompts,
    log=_Log(
      nowhere,
      jnp.zeros_like(nowhere),
      sampling.Draw(nowhere, lines, lines, lines, lines),
    ),
    slot_steps=jnp.zeros((), jnp.int32),
  )
  for stage in stages:
    loop = run(_reshaped(loop, stage, num_rows), stage)
  return _rollouts(loop, rows, num_tokens, stops, pad_id)


def _reshaped(loop: _Loop, stage: slots_lib.Stage, num_rows: int) -> _Loop:
  """The loop's carry in the shapes of its next stage."""
  cache = cache_lib.grown(loop.cache, stage.capacity)
  loop = loop.replace(cache=cache)
  if loop.hidden.shape[0] == stage.num_slots:
    return loop
  kept = slots_lib.packed(loop.slots, stage.num_slots, num_rows)
  return loop.replace(
    slots=loop.slots.replace(
      rows=loop.slots.rows[kept], ages=loop.slots.ages[kept]
    ),
    hidden=loop.hidden[kept],
    cache=cache_lib.rows_of(loop.cache, kept),
    prompts=cache_lib.rows_of(loop.prompts, kept),
  )


def _rollouts(
  loop: _Loop, rows: _Rows, num_tokens: int, stops, pad_id
) -> records.RolloutBatch:
  """The log, sorted into rows and positions."""
  num_rows = rows.sample_index.shape[0]

  def sorted_out(lines: jax.Array) -> jax.Array:
    cells = jnp.zeros((num_rows, num_tokens), lines.dtype)
    return cells.at[loop.log.rows, loop.log.ages].set(lines, mode="drop")

  draws = jax.tree.map(sorted_out, loop.log.draws)
  mask = sorted_out(jnp.ones_like(loop.log.draws.logprobs))
  is_stop = jnp.isin(draws.tokens, stops) & (mask > 0)
  steps = loop.slot_steps.astype(jnp.float32) / num_rows
  return records.RolloutBatch(
    # They are the caller's.
    prompts=None,
    group_ids=None,
    completion_tokens=jnp.where(mask > 0, draws.tokens, pad_id),
    completion_mask=mask,
    sample_index=rows.sample_index,
    valid=jnp.ones(num_rows, jnp.float32),
    finished=jnp.any(is_stop, axis=1).astype(jnp.float32),
    decode_steps=jnp.full(num_rows, steps),
    sampler_logprobs=draws.logprobs,
    log_kept_mass=draws.log_kept_mass,
    frozen_entropies=draws.entropies,
    frozen_mean_logprobs=draws.mean_logprobs,
  )
