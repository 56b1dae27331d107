"""KL-Cov: a KL penalty on the tokens of largest covariance, no clip.

"The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models"
(https://arxiv.org/abs/2505.22617); [code*] is recipe/dapo/32b_kl_cov.sh of
LiyuanLucasLiu/Entropy-Mechanism-of-RL, a copy of PRIME-RL's. Ours: groups of
one verdict are dropped, not sampled anew; ten times the share of tokens in
":tiny" and ":chain", whose updates hold some hundred tokens.

python -m rlvr_jax.train --config=experiments/kl_cov.py:tiny --workdir=runs/kl
(":tiny" and ":chain" run on a CPU; the model variants are the paper's runs)
"""

from experiments import common

MODELS = ("qwen2p5_7b", "qwen2p5_32b")


def get_config(arg: str = "tiny"):
  """KL-Cov on a variant of `common.TASKS` or of MODELS."""
  config = common.base(arg, MODELS)
  config.advantage = dict(
    name="grpo_advantages",  # section 4.3
    normalize_std=True,  # [inferred]
    epsilon=1e-6,  # [code*] lasgroup/SDPO, a fork of verl
    ddof=1,  # [code*] lasgroup/SDPO, a fork of verl
  )
  config.filters = ("mixed_groups",)  # section 4.3
  config.derived = ("kl_cov_tokens",)  # section 4.2
  config.kl_cov_tokens = dict(select_frac=0.02)  # ours
  config.token_loss = dict(
    name="kl_cov",
    kl_cov_coef=1.0,  # section 4.3
  )
  config.aggregate = dict(name="token_mean")  # [code*]
  # Ours, of eight prompts each; the penalty acts from the second one on.
  config.updates.num_minibatches = 4
  if arg in MODELS:
    _paper(config, arg)
  return config


def _paper(config, arg):
  """Section 4.3, from the base models."""
  config.kl_cov_tokens.select_frac = {
    "qwen2p5_7b": 2e-3,  # section 4.3
    "qwen2p5_32b": 2e-4,  # section 4.3
  }[arg]
  config.data = dict(
    **common.FROM_FILES,
    name="dapo_math_17k",  # section 4.3
    variant="train",  # ours
    verifier="math",  # [code*]
    prompt_tokens=2048,  # [code*]
  )
  config.prompts_per_step = 256  # section 4.3
  config.rollout.num_generations = 8  # section 4.3
  config.rollout.completion_tokens = 8192  # section 4.3
  config.rollout.temperature = 1.0  # section 4.3
  config.optimizer.learning_rate = 1e-6  # [code*]
  config.optimizer.schedule = "constant"  # [code*]
  config.optimizer.weight_decay = 0.0  # [code*]
  config.optimizer.clip_norm = 1.0  # [code*]
  config.updates.num_minibatches = 8  # section 4.3
