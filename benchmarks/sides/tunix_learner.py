"""Tunix's GRPOLearner, with its own sampler ("vanilla" rollouts)."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tunix.generate import sampler as sampler_lib
from tunix.rl import rl_cluster
from tunix.rl.grpo import grpo_learner
from tunix.rl.rollout import base_rollout
from tunix.rl.rollout import vanilla_rollout

from benchmarks import workload
from benchmarks.sides import jax_device
from benchmarks.sides import side
from benchmarks.sides import tokenizer as tokenizer_lib
from benchmarks.sides import tunix_model


class FullLengthSampler(sampler_lib.Sampler):
  """The sampler, which can forbid tokens, told to by rollouts, which cannot."""

  def __call__(self, *args, **kwargs):
    return super().__call__(
      *args, forbidden_tokens=workload.NEVER_SAMPLED, **kwargs
    )


def dataset(size: workload.Size, steps: int, rollout_config):
  """The prompts step by step, each with noise of its own."""
  for step in range(steps):
    # Left alone, every step would sample with the same random numbers.
    rollout_config.seed = workload.SEED + step
    texts, answers = zip(*workload.problems(size, step), strict=True)
    yield {"prompts": np.array(texts), "answer": np.array(answers)}


def cluster(size: workload.Size, model, rollout_config, steps: int):
  """Actor, sampler and optimizer on one device."""
  # The models want axes of the automatic kind, which is not JAX's default.
  mesh = jax.make_mesh(
    (1, 1), ("fsdp", "tp"), axis_types=(jax.sharding.AxisType.Auto,) * 2
  )
  roles = (
    rl_cluster.Role.ACTOR,
    rl_cluster.Role.REFERENCE,
    rl_cluster.Role.ROLLOUT,
  )
  optimizer = optax.chain(
    optax.clip_by_global_norm(workload.CLIP_NORM),
    optax.adamw(
      workload.LEARNING_RATE,
      *workload.BETAS,
      workload.ADAM_EPSILON,
      weight_decay=workload.WEIGHT_DECAY,
    ),
  )
  return rl_cluster.RLCluster(
    actor=model,
    tokenizer=tokenizer_lib.make(size),
    cluster_config=rl_cluster.ClusterConfig(
      role_to_mesh=dict.fromkeys(roles, mesh),
      rollout_engine="vanilla",
      rollout_config=rollout_config,
      # Counted in prompts.
      training_config=rl_cluster.RLTrainingConfig(
        actor_optimizer=optimizer,
        eval_every_n_steps=10**9,
        max_steps=steps,
        mini_batch_size=size.prompts,
        train_micro_batch_size=size.prompts // size.micro_batches,
        rollout_micro_batch_size=size.prompts,
        compute_logps_micro_batch_size=size.prompts,
      ),
    ),
  )


def algorithm(size: workload.Size) -> grpo_learner.GRPOConfig:
  """The workload's settings, in Tunix's names."""
  return grpo_learner.GRPOConfig(
    num_generations=size.samples,
    num_iterations=1,
    beta=0.0,
    epsilon=workload.CLIP,
  )


def add_clocks(clock: side.Clock, learner, actor) -> set[int]:
  """Clocks around the learner's own parts; lengths of completions, as seen.

  Sampling ends with arrays of the host, and an update is waited for.
  """
  lengths, run_step = set(), learner._run_global_step
  generate = clock.timed("generate", learner.rl_cluster.generate)

  def seen(*args, **kwargs):
    out = generate(*args, **kwargs)
    lengths.update(len(x) for x in out.tokens)
    return out

  def step(*args, **kwargs):
    with clock.span("step"):
      run_step(*args, **kwargs)
      jax.block_until_ready(tunix_model.nnx.state(actor()))
    clock.add_rest("update", "step", "rollout")

  learner.rl_cluster.generate = seen
  learner._run_global_step = step
  learner._generate_and_compute_advantage = clock.timed(
    "rollout", learner._generate_and_compute_advantage
  )
  return lengths


def main():
  """Times the learner and reports."""
  args = side.parser(__doc__).parse_args()
  size = side.size_of(args)
  dtype = jnp.dtype(side.dtype_of(args, jax.default_backend() == "cpu"))
  model = tunix_model.build(size, dtype)
  parameters = tunix_model.parameters(model)
  before = np.asarray(model.embedder.input_embedding[...])
  rollout_config = base_rollout.RolloutConfig(
    max_tokens_to_generate=size.completion_tokens,
    max_prompt_length=size.prompt_tokens,
    # Every decoding step attends to the whole cache: no more than is needed.
    kv_cache_size=size.row_tokens,
    temperature=workload.TEMPERATURE,
    # Without it the sampler takes the likeliest token.
    top_p=1.0,
    top_k=None,
  )
  vanilla_rollout.sampler.Sampler = FullLengthSampler
  roles = cluster(size, model, rollout_config, args.steps)
  learner = grpo_learner.GRPOLearner(
    rl_cluster=roles,
    reward_fns=workload.rewards_of,
    algo_config=algorithm(size),
  )
  clock = side.Clock()
  actor = lambda: roles.actor_trainer.model
  lengths = add_clocks(clock, learner, actor)
  learner.train(dataset(size, args.steps, rollout_config))
  after = np.asarray(actor().embedder.input_embedding[...])
  logged = lambda name: [
    float(x)
    for x in roles._rl_metrics_logger.get_metric_history("actor", name, "train")
  ]
  side.write(
    args,
    side.report(
      args,
      size,
      clock,
      name="tunix",
      dtype=dtype.name,
      parameters=parameters,
      packages=tunix_model.PACKAGES,
      checks={
        "completion_tokens": sorted(lengths),
        "loss": logged("loss"),
        "grad_norm": logged("grad_norm"),
        "updates": roles.actor_trainer.train_steps,
        "weights_moved": not np.array_equal(before, after),
      },
      **jax_device.told(jax.local_devices()[0]),
    ),
  )


if __name__ == "__main__":
  main()
