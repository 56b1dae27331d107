"""rlvr_jax: sampler, device verifier and train step, as a run compiles them.

GRPO is that of experiments/grpo.py with the workload's clip widths and mean.
The programs are compiled in this process: no cache of earlier ones is read
unless --compile-cache names one.
"""

import functools
import math
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measurement
from benchmarks import workload
from benchmarks.sides import jax_device
from benchmarks.sides import matmul_peak
from benchmarks.sides import side
from experiments import grpo
from rlvr_jax import collect
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import keys
from rlvr_jax import ops
from rlvr_jax import optimizers
from rlvr_jax import records
from rlvr_jax import rewards
from rlvr_jax import sharding
from rlvr_jax import state as state_lib
from rlvr_jax import update
from rlvr_jax.models import transformer
from rlvr_jax.rewards import verdicts
from rlvr_jax.rollouts import sampler
from rlvr_jax.rollouts import threads

# Layers beyond this are compiled as one.
_UNROLLED_LAYERS = 16
# What makes a token's probability 0.
_NEVER = -1e9


class Programs(NamedTuple):
  """What a step calls, compiled on first use.

  Attributes:
    sample: (params, step, PromptBatch) -> rollouts.
    judge: rollouts -> (judged rollouts, metrics).
    train_step: (state, rollouts) -> (state, metrics); donates state.
  """

  sample: Any
  judge: Any
  train_step: Any


def experiment(
  size: workload.Size, dtype: str = "float32", remat: str = "none"
) -> experiment_lib.Experiment:
  """experiments/grpo.py with the workload's numbers."""
  config = grpo.get_config("tiny")
  config.token_loss = dict(
    name="ppo_clip", clip_low=workload.CLIP, clip_high=workload.CLIP
  )
  config.aggregate = dict(name="sequence_mean")
  config.seed = workload.SEED
  config.prompts_per_step = size.prompts
  config.model = dict(
    vocab_size=size.vocab,
    num_layers=size.layers,
    width=size.width,
    num_heads=size.heads,
    num_kv_heads=size.kv_heads,
    head_dim=size.head_dim,
    mlp_width=size.ffn,
    qk_norm="head",
    tied_embeddings=True,
    rope_base=workload.ROPE_BASE,
    norm_epsilon=workload.NORM_EPSILON,
    init_std=workload.INIT_STD,
    dtype=dtype,
    scan_layers=size.layers > _UNROLLED_LAYERS,
    remat=remat,
  )
  config.rollout.num_generations = size.samples
  config.rollout.completion_tokens = size.completion_tokens
  config.rollout.temperature = workload.TEMPERATURE
  config.optimizer = dict(
    learning_rate=workload.LEARNING_RATE,
    b1=workload.BETAS[0],
    b2=workload.BETAS[1],
    epsilon=workload.ADAM_EPSILON,
    weight_decay=workload.WEIGHT_DECAY,
    clip_norm=workload.CLIP_NORM,
  )
  config.updates.num_micro_batches = size.micro_batches
  return experiment_lib.load(config.to_dict())


def prompt_batch(size: workload.Size, step: int) -> records.PromptBatch:
  """The prompts of a step, on device."""
  tokens, mask, answers = workload.prompt_arrays(size, step)
  return records.PromptBatch(
    prompt_tokens=jnp.asarray(tokens),
    prompt_mask=jnp.asarray(mask, jnp.float32),
    prompt_ids=jnp.arange(size.prompts, dtype=jnp.int32),
    answers={"answer": jnp.asarray(answers)},
  )


def verifier(size: workload.Size):
  """The workload's reward as a device verifier."""
  odd = workload.odd_ids(size)

  def parity_outcomes(
    *, completion_tokens: jax.Array, answer: jax.Array
  ) -> jax.Array:
    total = jnp.sum(jnp.asarray(odd)[completion_tokens], axis=1) + answer
    always = jnp.ones(answer.shape, bool)
    return verdicts.verdicts(ended=always, parsed=always, right=total % 2 == 0)

  return parity_outcomes


def logit_bias(vocab: int, stop_probability: float = 0.0) -> np.ndarray:
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


def sample(
  experiment: experiment_lib.Experiment,
  config: sampler.SamplerConfig,
  params: Any,
  prompts: records.PromptBatch,
  *,
  step: jax.Array | int = 0,
  stop_probability: float = 0.0,
  partition: ops.Partition | None = None,
) -> records.RolloutBatch:
  """The sampler on the workload's prompts.

  Args:
    experiment: of `experiment`.
    config: of the sampler.
    params: of the model.
    prompts: of `prompt_batch`.
    step: i32[], whose random numbers.
    stop_probability: of `logit_bias`.
    partition: of the devices it is compiled for; None for the backend's.
  """
  run = experiment.run
  bias = logit_bias(run.model.vocab_size, stop_probability)
  return sampler.generate(
    transformer.Transformer(run.model, partition),
    params,
    prompts,
    keys.stream_key(run.seed, "sample", step),
    config=config,
    stop_ids=(workload.EOS_ID,),
    pad_id=workload.PAD_ID,
    logit_bias=jnp.asarray(bias),
  )


def programs(
  size: workload.Size, experiment: experiment_lib.Experiment
) -> Programs:
  """The step's functions."""
  run, method, _ = experiment
  verify = verifier(size)

  def sample_step(params, step, prompts):
    return sample(experiment, run.rollout, params, prompts, step=step)

  def judge(rollouts):
    outcomes = rewards.device_outcomes(rollouts, verify)
    return collect.judged(rollouts, outcomes)

  train_step = functools.partial(
    update.train_step,
    model=transformer.Transformer(run.model),
    method=method,
    optimizer=optimizers.make_optimizer(run.optimizer),
    config=run.updates,
    temperature=run.rollout.temperature,
  )
  number = threads.num_threads(
    run.sampling_threads, run.rollout, sharding.make_mesh(run.mesh)
  )
  return Programs(
    sample=threads.on_cores(jax.jit(sample_step), number),
    judge=jax.jit(judge),
    train_step=jax.jit(train_step, donate_argnums=0),
  )


def fresh_state(experiment: experiment_lib.Experiment) -> records.TrainState:
  """A new model and its optimizer."""
  run = experiment.run

  def fresh():
    params = transformer.init_params(
      run.model, keys.stream_key(run.seed, "init")
    )
    optimizer = optimizers.make_optimizer(run.optimizer)
    return state_lib.around(nn.unbox(params), run.seed, optimizer)

  return jax.jit(fresh)()


def fresh_params(experiment: experiment_lib.Experiment) -> Any:
  """A new model; the compiler leaves its optimizer out."""
  return jax.jit(lambda: fresh_state(experiment).params)()


def parameters(params: Any) -> int:
  """How many numbers are learned."""
  return sum(x.size for x in jax.tree.leaves(params))


def run_steps(
  size: workload.Size,
  experiment: experiment_lib.Experiment,
  steps: int,
  clock: side.Clock,
) -> dict[str, object]:
  """Runs and times the steps; what a report counts and checks."""
  compiled = programs(size, experiment)
  state = jax.block_until_ready(fresh_state(experiment))
  number = parameters(state.params)
  before = np.asarray(state.params["embedding"])
  metrics, lengths = [], set()
  for step in range(steps):
    with clock.span("step"):
      with clock.span("generate"):
        rollouts = jax.block_until_ready(
          compiled.sample(
            state.params, jnp.asarray(step, jnp.int32), prompt_batch(size, step)
          )
        )
      rollouts, judged = jax.block_until_ready(compiled.judge(rollouts))
      with clock.span("update"):
        state, measured = jax.block_until_ready(
          compiled.train_step(state, rollouts)
        )
      metrics.append(jax.device_get(judged | measured))
    lengths.update(np.asarray(rollouts.completion_mask.sum(axis=1)).tolist())
  told = lambda name: [float(x[name]) for x in metrics]
  return {
    "parameters": number,
    "checks": {
      "completion_tokens": sorted(int(x) for x in lengths),
      "loss": told("policy/loss"),
      "grad_norm": told("policy/grad_norm"),
      "reward": told("train/reward"),
      "updates": int(state.step),
      "weights_moved": not np.array_equal(
        before, np.asarray(state.params["embedding"])
      ),
    },
  }


def main():
  """Times steps, then matrix products, and reports."""
  flags = side.parser(__doc__)
  flags.add_argument("--remat", default="none", help="none, dots or full")
  flags.add_argument("--compile-cache", help="folder of compiled programs")
  args = flags.parse_args()
  size = side.size_of(args)
  jax.config.update("jax_enable_compilation_cache", bool(args.compile_cache))
  if args.compile_cache:
    jax.config.update("jax_compilation_cache_dir", args.compile_cache)
  device = jax.local_devices()[0]
  dtype = side.dtype_of(args, device.platform == "cpu")
  clock = side.Clock()
  found = run_steps(
    size, experiment(size, dtype, args.remat), args.steps, clock
  )
  report = side.report(
    args,
    size,
    clock,
    name="ours",
    dtype=dtype,
    packages=measurement.PACKAGES,
    **jax_device.told(device),
    **found,
  )
  report["compile_cache"] = bool(args.compile_cache)
  # After the memory has been read: the products need some of their own.
  report["matmul_flops_per_s"] = matmul_peak.measure(size, dtype)
  side.write(args, report)


if __name__ == "__main__":
  main()
