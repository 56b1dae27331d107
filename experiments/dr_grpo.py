"""Dr. GRPO: no division by the deviation, none by a response's length.

"Understanding R1-Zero-Like Training: A Critical Perspective"
(https://arxiv.org/abs/2503.20783), table 6 read through notes; [code] is
sail-sg/understand-r1-zero. Ours: a single update a batch in ":tiny" and
":chain", where the clip never binds.

python -m rlvr_jax.train --config=experiments/dr_grpo.py:tiny --workdir=runs/dr
(":tiny" and ":chain" run on a CPU; the model variants are the paper's runs)
"""

from experiments import common

MODELS = ("qwen2p5_math_1p5b", "qwen2p5_math_7b")


def get_config(arg: str = "tiny"):
  """Dr. GRPO on a variant of `common.TASKS` or of MODELS."""
  config = common.base(arg, MODELS)
  config.advantage = dict(name="dr_grpo_advantages")  # section 3.2
  config.token_loss = dict(
    name="ppo_clip",
    clip_low=0.2,  # appendix G, table 6
    clip_high=0.2,  # appendix G, table 6
  )
  if arg in MODELS:
    _paper(config, arg)
  config.aggregate = dict(
    name="fixed_length",
    length=config.rollout.completion_tokens,  # listing 1: the longest allowed
  )
  return config


def _paper(config, arg):
  """Appendix G, table 6; data and batches from examples/qwen2.5-math-*.sh."""
  config.data = dict(
    **common.FROM_FILES,
    name={
      "qwen2p5_math_1p5b": "math_12k",  # [code] examples/qwen2.5-math-1.5b.sh
      "qwen2p5_math_7b": "math_lvl3to5_8k",  # section 1, "level 3-5"
    }[arg],
    variant="qwen_math_template",  # section 1
    verifier="math",  # [code] math_verify
    prompt_tokens=1024,  # [code] prompt_max_length
  )
  config.prompts_per_step = 128  # [code] rollout_batch_size
  config.rollout.num_generations = 8  # table 6
  config.rollout.completion_tokens = 3000  # table 6
  config.rollout.temperature = 1.0  # table 6
  config.rollout.top_p = 1.0  # table 6
  config.optimizer.learning_rate = 1e-6  # table 6
  config.optimizer.schedule = "constant"  # table 6
  config.optimizer.b1 = 0.9  # table 6
  config.optimizer.b2 = 0.95  # table 6
  config.optimizer.weight_decay = 0.0  # table 6
  config.optimizer.clip_norm = 1.0  # table 6
  # [code] train_batch_size 128, [inferred] rows: an eighth of 128 x 8.
  config.updates.num_minibatches = 8
