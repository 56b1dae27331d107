"""DAPO: clip-higher, mixed groups only, token mean, overlong penalty.

"DAPO: An Open-Source LLM Reinforcement Learning System at Scale"
(https://arxiv.org/abs/2503.14476); [code] is recipe/dapo of verl. Ours: a
batch that is not full of mixed groups after `max_rounds` goes on without the
others, where the code gives up; rewards are 0 and 1 where the paper's are -1
and 1, so that the penalty weighs twice as much. In ":tiny" and ":chain" it
begins past the longest solution: earlier, it costs more right answers than it
saves tokens.

python -m rlvr_jax.train --config=experiments/dapo.py:tiny --workdir=runs/dapo
(":tiny" and ":chain" run on a CPU; ":qwen2p5_32b" is the paper's run)
"""

from experiments import common

MODELS = ("qwen2p5_32b",)


def get_config(arg: str = "tiny"):
  """DAPO on a variant of `common.TASKS` or of MODELS."""
  config = common.base(arg, MODELS)
  config.reward_shaping = ("overlong_penalty",)  # section 3.4
  config.advantage = dict(
    name="grpo_advantages",  # section 4.1
    normalize_std=True,  # section 4.1
    epsilon=1e-6,  # [code*] lasgroup/SDPO, a fork of verl
    ddof=1,  # [code*] lasgroup/SDPO, a fork of verl
  )
  config.filters = ("mixed_groups",)  # section 3.2
  config.refill = dict(max_rounds=10)  # [code] run_dapo_qwen2.5_32b.sh
  config.token_loss = dict(
    name="ppo_clip",
    clip_low=0.2,  # section 4.1
    clip_high=0.28,  # section 4.1
  )
  config.aggregate = dict(name="token_mean")  # section 3.3
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
  """Section 4.1, from the base model of Qwen2.5-32B."""
  config.overlong_penalty = dict(
    max_tokens=20_480,  # section 4.1
    buffer_tokens=4096,  # section 4.1
  )
  config.data = dict(
    **common.FROM_FILES,
    name="dapo_math_17k",  # section 4.1
    variant="train",  # ours
    verifier="math",  # section 2.4: the rule of the final answer
    prompt_tokens=2048,  # [code] run_dapo_qwen2.5_32b.sh
  )
  config.prompts_per_step = 512  # section 4.1
  config.rollout.num_generations = 16  # section 4.1
  config.rollout.completion_tokens = 20_480  # section 4.1
  config.rollout.temperature = 1.0  # [code] run_dapo_qwen2.5_32b.sh
  config.rollout.top_p = 1.0  # [code] run_dapo_qwen2.5_32b.sh
  config.optimizer.learning_rate = 1e-6  # section 4.1
  config.optimizer.schedule = "constant"  # section 4.1
  # Section 4.1: 20 rollout steps of 16 updates; [code] has 10 updates.
  config.optimizer.warmup_steps = 20 * 16
  config.optimizer.weight_decay = 0.1  # [code] run_dapo_qwen2.5_32b.sh
  config.optimizer.clip_norm = 1.0  # [code] run_dapo_qwen2.5_32b.sh
  config.updates.num_minibatches = 16  # section 4.1
