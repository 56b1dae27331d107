"""FlowRL: match the policy to a distribution of rewards, with a learned log Z.

"FlowRL: Matching Reward Distributions for LLM Reasoning"
(https://arxiv.org/abs/2509.15207); [code] is Xuekai-Zhu/FlowRL, [recipe] the
maintained verl-project/verl-recipe, whose weight (at most 10) is the default
here. Its rewards are GRPO advantages: their group mean is 0, so that log Z
says nothing of accuracy. Differs: no dropout in the head, whose last layer
starts at 0.

python -m rlvr_jax.train --config=experiments/flowrl.py:tiny --workdir=runs/f
(":tiny", ":chain" and ":tiny_mixed" run on a CPU; ":qwen2p5_7b" is the paper's
run; ":tiny+paper" and ":tiny+code" have the paper's and the first code's
weights)
"""

import math

from experiments import common

MODELS = ("qwen2p5_7b",)


def get_config(arg: str = "tiny"):
  """FlowRL on a variant of `common.TASKS` or of MODELS, "+weights"."""
  variant, _, weights = arg.partition("+")
  config = common.base(variant, MODELS)
  config.advantage = dict(
    name="grpo_advantages",  # [code] core_algos.py
    normalize_std=True,  # [code] core_algos.py
    epsilon=1e-6,  # [code] core_algos.py
    ddof=1,  # [code] core_algos.py
  )
  # ours: 15 (section 4) is out of reach of short completions, whose mean
  # log-ratio cannot be that large
  config.scalars = dict(inv_temp=1.0)
  config.sequence_loss = dict(
    name="trajectory_balance",
    rewards="advantages",  # [code] dp_actor.py
    anchor_logprobs="ref_logprobs",  # [code] README.md
    length_norm="token",  # [code] README.md
    w_mode="sequence",  # [recipe] flowrl_actor.py
    w_low=0.0,  # [recipe] flowrl_actor.py
    w_high=10.0,  # [recipe] flowrl_actor.py
  )
  config.log_partition = dict(
    kind="mlp",  # [code]: three layers
    embedding="live",  # [code]: not detached
    pooling="mean_but_last",  # [code]: a slice one token short
    units="nats",  # [code]
    initial=0.0,  # ours
    joint_clip=True,  # [code]: one optimizer for both
    optimizer=dict(config.optimizer),  # [code]: one optimizer for both
  )
  if variant in MODELS:
    _paper(config)
  if weights == "paper":
    # via notes: clipped to [1 - eps, 1 + eps]; eps 0.2 is [inferred]
    config.sequence_loss.update(w_low=0.8, w_high=1.2)
  elif weights == "code":
    config.sequence_loss.w_high = math.inf  # [code]: the clip is not used
  elif weights:
    raise ValueError(f"weights {weights!r}: choose paper or code")
  return config


def _paper(config):
  """The scripts of [code] command/training, from the base model."""
  config.scalars.inv_temp = 15.0  # [code] dp_actor.py
  config.data = dict(
    **common.FROM_FILES,
    name="dapo_math_17k",  # [code]
    variant="train",  # ours
    verifier="math",  # [code]
    prompt_tokens=2048,  # [code]
  )
  config.num_steps = 33  # [code]: one epoch of 17 k prompts
  config.prompts_per_step = 512  # [code]
  config.rollout.num_generations = 8  # [code]
  config.rollout.completion_tokens = 8192  # [code]
  config.rollout.temperature = 1.0  # [code]
  config.optimizer.learning_rate = 1e-6  # [code]
  config.optimizer.warmup_steps = 10  # [code]
  config.optimizer.weight_decay = 0.1  # [code]
  config.optimizer.clip_norm = 1.0  # [code]
  config.updates.num_minibatches = 16  # [code]: of 32 prompts
  config.log_partition.optimizer = dict(config.optimizer)  # [code]
