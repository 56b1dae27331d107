r"""Forking tokens: DAPO on the fifth of the tokens with the highest entropy.

"Beyond the 80/20 Rule: High-Entropy Minority Tokens Drive Effective
Reinforcement Learning for LLM Reasoning" (https://arxiv.org/abs/2506.01939);
[code] is run_only_top20_high_entropy_tokens_dapo_qwen3_14b.sh of
Shenzhi-Wang/Beyond-the-80-20-Rule-RLVR. Ours: groups of one verdict are
dropped, not sampled anew; rewards are 0 and 1, not -1 and 1.

python -m rlvr_jax.train --config=experiments/forking_tokens.py:tiny \
  --workdir=runs/forking_tokens
(":tiny" and ":chain" run on a CPU; the model variants are the paper's runs)
"""

from experiments import common

MODELS = ("qwen3_8b", "qwen3_14b", "qwen3_32b")


def get_config(arg: str = "tiny"):
  """Forking tokens on a variant of `common.TASKS` or of MODELS."""
  config = common.base(arg, MODELS)
  config.reward_shaping = ("overlong_penalty",)  # section 5.2
  config.advantage = dict(
    name="grpo_advantages",  # [code] adv_estimator
    normalize_std=True,  # [inferred], verl's default
    epsilon=1e-6,  # [code*] lasgroup/SDPO, a fork of verl
    ddof=1,  # [code*] lasgroup/SDPO, a fork of verl
  )
  config.filters = ("mixed_groups",)  # section 5.2
  config.token_weights = ("forking_token_mask",)  # section 5.1
  config.forking_token_mask = dict(keep_frac=0.2)  # section 5.2
  config.token_loss = dict(
    name="ppo_clip",
    clip_low=0.2,  # section 5.2
    clip_high=0.28,  # section 5.2
    dual_clip=10.0,  # [code] clip_ratio_c
  )
  config.aggregate = dict(
    name="token_mean",  # section 5.2
    over_kept=True,  # eq. 6
  )
  if arg in MODELS:
    _paper(config)
    return config
  tokens = config.rollout.completion_tokens
  config.overlong_penalty = dict(
    max_tokens=tokens,  # ours
    buffer_tokens=tokens // 16,  # ours: past the longest solution
  )
  config.updates.num_minibatches = 2  # ours: the second one meets the clip
  return config


def _paper(config):
  """Section 5.2, from the base models."""
  config.overlong_penalty = dict(
    max_tokens=20_480,  # section 5.2
    buffer_tokens=4096,  # section 5.2
  )
  config.data = dict(
    **common.FROM_FILES,
    name="dapo_math_17k",  # section 5.2
    variant="train",  # ours
    verifier="math",  # [code] reward_manager=dapo
    prompt_tokens=2048,  # [code] max_prompt_length
  )
  config.prompts_per_step = 512  # section 5.2
  config.rollout.num_generations = 16  # [code] n_resp_per_prompt
  config.rollout.completion_tokens = 20_480  # section 5.2
  config.rollout.temperature = 1.0  # [code] temperature
  config.optimizer.learning_rate = 1e-6  # section 5.2
  config.optimizer.schedule = "constant"  # section 5.2
  config.optimizer.warmup_steps = 0  # section 5.2; [code] 10 updates
  config.optimizer.weight_decay = 0.1  # [code] optim.weight_decay
  config.optimizer.clip_norm = 1.0  # [code] grad_clip
  config.updates.num_minibatches = 16  # section 5.2
