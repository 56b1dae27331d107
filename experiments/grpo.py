"""GRPO: group-relative advantages, clipped surrogate, token mean.

"DeepSeekMath" (https://arxiv.org/abs/2402.03300); upper clip width and token
mean from "DAPO" (https://arxiv.org/abs/2503.14476). The baseline that every
other experiment file is compared with. ":deepseek_math_7b" is DeepSeekMath's
own run, with its mean over responses and its KL term; there the reward is a
learned model's, and its two stages of reward model are not repeated.

python -m rlvr_jax.train --config=experiments/grpo.py:tiny --workdir=runs/grpo
(":tiny" and ":chain" run on a CPU)
"""

from experiments import common

MODELS = ("deepseek_math_7b",)


def get_config(arg: str = "tiny"):
  """GRPO on a variant of `common.TASKS` or of MODELS."""
  config = common.base(arg, MODELS)
  config.advantage = dict(
    name="grpo_advantages",
    normalize_std=True,  # DeepSeekMath, section 4.1
    epsilon=1e-6,  # verl, read in lasgroup/SDPO
    ddof=1,  # verl, read in lasgroup/SDPO
  )
  config.token_loss = dict(
    name="ppo_clip",
    clip_low=0.2,  # DeepSeekMath
    clip_high=0.28,  # DAPO, section 3.1
  )
  config.aggregate = dict(name="token_mean")  # DAPO, section 3.3
  if arg in MODELS:
    _deepseek_math(config)
  return config


def _deepseek_math(config):
  """DeepSeekMath, section 4.2, from DeepSeekMath-Instruct 7B."""
  config.token_loss.clip_high = 0.2  # [inferred]; one update never reaches it
  config.aggregate = dict(name="sequence_mean")  # eq. 3
  config.regularizers = ("kl_k3",)  # eq. 4
  config.kl_k3 = dict(coef=0.04)  # section 4.2
  config.data = dict(
    **common.FROM_FILES,
    name="gsm8k_math_144k",  # section 4.2
    variant="chain_of_thought",  # section 4.2
    verifier="reward_model",  # section 4.2
    prompt_tokens=1024,  # ours
  )
  config.prompts_per_step = 16  # section 4.2: a batch of 1024, [inferred] rows
  config.rollout.num_generations = 64  # section 4.2
  config.rollout.completion_tokens = 1024  # section 4.2, "max length"
  config.rollout.temperature = 1.0  # [inferred]
  config.optimizer.learning_rate = 1e-6  # section 4.2
  config.updates.num_minibatches = 1  # section 4.2
