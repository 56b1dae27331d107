r"""REINFORCE++: advantages normalised over the whole batch, clipped surrogate.

"REINFORCE++" (https://arxiv.org/abs/2501.03262), read through notes. Numbers
are those of version 1, "A Simple and Efficient Approach for Aligning Large
Language Models"; version 9, "Stabilizing Critic-Free Policy Optimization with
Global Normalization", whose equations these are, states none. Ours: a token
is charged the KL of the whole completion, where eq. 4 charges what lies ahead
of it. REINFORCE++ w/ Baseline (section 3.2) is this file with
--config.advantage.name=reinforce_pp_baseline_advantages and `kl_k2` in place of
the penalty.

python -m rlvr_jax.train --config=experiments/reinforce_pp.py:tiny \
  --workdir=runs/reinforce_pp
(":tiny" and ":chain" run on a CPU; ":qwen2p5_7b" is version 1 on mathematics)
"""

from experiments import common

MODELS = ("qwen2p5_7b",)


def get_config(arg: str = "tiny"):
  """REINFORCE++ on a variant of `common.TASKS` or of MODELS."""
  config = common.base(arg, MODELS)
  config.reward_shaping = ("sequence_kl_penalty",)  # eq. 4
  config.sequence_kl_penalty = dict(
    kl_coef=0.001  # version 1, table 1: mathematics
  )
  config.advantage = dict(
    name="reinforce_pp_advantages",
    epsilon=1e-8,  # [inferred] from verl's whitening
  )
  config.token_loss = dict(
    name="ppo_clip",
    clip_low=0.2,  # version 1, table 1
    clip_high=0.2,  # version 1, table 1
  )
  config.aggregate = dict(name="sequence_mean")  # eq. 1
  if arg in MODELS:
    _paper(config)
    return config
  config.updates.num_minibatches = 2  # ours: the second one meets the clip
  return config


def _paper(config):
  """Version 1, table 1, mathematics, from Qwen2.5-7B-Instruct."""
  config.data = dict(
    **common.FROM_FILES,
    name="mathematics",  # [inferred], its data set is not named
    variant="train",  # ours
    verifier="reward_model",  # version 1, section 4
    prompt_tokens=1024,  # [code] OpenRLHF train_reinforce_llama_ray_*.sh
  )
  config.num_steps = 98  # table 1: 25,000 samples, [inferred] prompts
  config.prompts_per_step = 256  # table 1, [inferred] prompts
  config.rollout.num_generations = 4  # table 1
  config.rollout.completion_tokens = 1024  # [code] as prompt_tokens
  config.rollout.temperature = 1.0  # [inferred]
  config.optimizer.learning_rate = 5e-7  # table 1
  # Table 1: training batch 128, in OpenRLHF rows: an eighth of 256 x 4.
  config.updates.num_minibatches = 8
