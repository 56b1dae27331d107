"""What the experiment files share: sizes, data and everyday settings.

An experiment file is a paper's table: it repeats each value that the paper
states. Values marked "ours" were chosen here.
"""

import ml_collections

# Two small recipes that run anywhere. # ours, measured on two CPU cores
TASKS = {
  # Three numbers, a target, 1 to 22 solutions each.
  "tiny": dict(
    data=dict(
      name="countdown",
      variant="three",
      verifier="countdown_outcomes",
      prompt_tokens=9,
      split_seed=1,
    ),
    completion_tokens=16,
    num_steps=150,
    target_pass_at_1=0.35,
    warm_start_steps=1000,
  ),
  # Sums of single digits with every step restated; RL first learns to end in
  # "#", then to calculate.
  "chain": dict(
    data=dict(
      name="random_calculation",
      variant="chain",
      verifier="chain_outcomes",
      prompt_tokens=12,
      split_seed=0,
    ),
    completion_tokens=36,
    num_steps=120,
    target_pass_at_1=0.30,
    warm_start_steps=600,
  ),
}


def base(arg: str) -> ml_collections.ConfigDict:
  """Settings of a variant, without a method.

  Args:
    arg: what follows the colon in --config=experiments/x.py:arg.
  """
  if arg not in TASKS:
    raise ValueError(f"variant {arg!r}: choose one of {', '.join(TASKS)}")
  task = TASKS[arg]
  config = ml_collections.ConfigDict()
  config.seed = 0
  config.num_steps = task["num_steps"]
  config.prompts_per_step = 32
  config.data = task["data"]
  # 102,784 parameters.
  config.model = dict(
    vocab_size=32,
    num_layers=2,
    width=64,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    mlp_width=192,
    rope_base=1e4,
    init_std=0.1,
  )
  config.rollout = dict(
    num_generations=8,
    completion_tokens=task["completion_tokens"],
    temperature=1.0,
    top_k=0,
    top_p=1.0,
    min_p=0.0,
  )
  config.optimizer = dict(
    learning_rate=5e-4,
    warmup_steps=0,
    schedule="constant",
    b1=0.9,
    b2=0.98,
    weight_decay=0.0,
    clip_norm=1.0,
  )
  config.warm_start = dict(
    num_steps=task["warm_start_steps"],
    batch_size=64,
    target_pass_at_1=task["target_pass_at_1"],
    validate_every_steps=50,
    optimizer=dict(
      learning_rate=5e-3,
      warmup_steps=20,
      schedule="cosine",
      decay_steps=task["warm_start_steps"],
      final_frac=0.1,
      b1=0.9,
      b2=0.98,
      weight_decay=0.01,
      clip_norm=1.0,
    ),
  )
  config.update = dict(num_minibatches=1, num_micro_batches=1)
  config.evaluation = dict(
    every_steps=25,
    num_prompts=128,
    num_generations=8,
    temperature=1.0,
    batch_prompts=32,
  )
  config.checkpoint = dict(every_steps=50, keep=2)
  config.mesh = dict(data=1, fsdp=1, tensor=1)
  return config
