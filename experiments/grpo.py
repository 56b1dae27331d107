"""GRPO: group-relative advantages, clipped surrogate, token mean.

"DeepSeekMath" (https://arxiv.org/abs/2402.03300); upper clip width and token
mean from "DAPO" (https://arxiv.org/abs/2503.14476). The baseline that every
other experiment file is compared with.

python -m rlvr_jax.train --config=experiments/grpo.py:tiny --workdir=runs/grpo
(":tiny" and ":chain" run on a CPU)
"""

from experiments import common


def get_config(arg: str = "tiny"):
  """GRPO on a variant of `common.TASKS`."""
  config = common.base(arg)
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
  return config
