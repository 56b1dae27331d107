"""CISPO: the clipped ratio as a weight, so that no token loses its gradient.

"MiniMax-M1: Scaling Test-Time Compute Efficiently with Lightning Attention"
(https://arxiv.org/abs/2506.13585). It tunes the upper width and does not print
it. Its comparison with DAPO names model, data and updates; what it leaves out
is DAPO's here ("DAPO", https://arxiv.org/abs/2503.14476), [inferred]. Ours:
groups of one verdict are dropped, not sampled anew.

python -m rlvr_jax.train --config=experiments/cispo.py:tiny --workdir=runs/cispo
(":tiny" and ":chain" run on a CPU; ":qwen2p5_32b" is the paper's comparison)
"""

from experiments import common

MODELS = ("qwen2p5_32b",)


def get_config(arg: str = "tiny"):
  """CISPO on a variant of `common.TASKS` or of MODELS."""
  config = common.base(arg, MODELS)
  config.reward_shaping = ("overlong_penalty",)  # section 3.1
  config.advantage = dict(
    name="grpo_advantages",  # section 3.1
    normalize_std=True,  # eq. 2
    epsilon=1e-6,  # [code*] lasgroup/SDPO, a fork of verl
    ddof=1,  # [code*] lasgroup/SDPO, a fork of verl
  )
  config.filters = ("mixed_groups",)  # section 3.1
  config.token_loss = dict(
    name="cispo",
    clip_low=1.0,  # section 3.1: "a large value", no lower bound
    clip_high=0.28,  # [inferred], DAPO's
  )
  config.aggregate = dict(name="token_mean")  # eq. 4
  if arg in MODELS:
    _paper(config)
    return config
  tokens = config.rollout.completion_tokens
  config.overlong_penalty = dict(
    max_tokens=tokens,  # ours
    buffer_tokens=tokens // 16,  # ours: past the longest solution
  )
  config.updates.num_minibatches = 4  # ours, of eight prompts each
  return config


def _paper(config):
  """Section 3.1's comparison, from the base model of Qwen2.5-32B."""
  config.overlong_penalty = dict(
    max_tokens=20_480,  # [inferred], DAPO's
    buffer_tokens=4096,  # [inferred], DAPO's
  )
  config.data = dict(
    **common.FROM_FILES,
    name="dapo_math_17k",  # section 3.1
    variant="train",  # ours
    verifier="math",  # [inferred], DAPO's
    prompt_tokens=2048,  # [inferred], DAPO's
  )
  config.prompts_per_step = 512  # [inferred], DAPO's
  config.rollout.num_generations = 16  # [inferred], DAPO's
  config.rollout.completion_tokens = 20_480  # [inferred], DAPO's
  config.rollout.temperature = 1.0  # [inferred], DAPO's
  config.optimizer.learning_rate = 1e-6  # [inferred], DAPO's
  config.optimizer.warmup_steps = 20 * 16  # [inferred], DAPO's
  config.optimizer.weight_decay = 0.1  # [inferred], DAPO's
  config.optimizer.b1 = 0.9  # section 3.2, of MiniMax-M1 itself
  config.optimizer.b2 = 0.95  # section 3.2, of MiniMax-M1 itself
  config.optimizer.epsilon = 1e-15  # section 3.2, of MiniMax-M1 itself
  config.updates.num_minibatches = 16  # section 3.1
