"""GSPO: one ratio and one clip for a whole response.

"Group Sequence Policy Optimization" (https://arxiv.org/abs/2507.18071). The
paper's model is a mixture of experts (a fine-tuned Qwen3-30B-A3B-Base), which
the library has no layers for, and its paper states no batch, length or
learning rate: hence no variant of a model.

python -m rlvr_jax.train --config=experiments/gspo.py:tiny --workdir=runs/gspo
(":tiny" and ":chain" run on a CPU)
"""

from experiments import common


def get_config(arg: str = "tiny"):
  """GSPO on a variant of `common.TASKS`."""
  config = common.base(arg)
  config.advantage = dict(
    name="grpo_advantages",  # eq. 6
    normalize_std=True,  # eq. 6
    epsilon=1e-6,  # [code*] lasgroup/SDPO, a fork of verl
    ddof=1,  # [code*] lasgroup/SDPO, a fork of verl
  )
  config.token_loss = dict(
    name="gspo",
    clip_low=3e-4,  # section 5.1
    clip_high=4e-4,  # section 5.1
  )
  config.aggregate = dict(name="sequence_mean")  # eq. 5
  config.updates.num_minibatches = 4  # section 5.1
  return config
