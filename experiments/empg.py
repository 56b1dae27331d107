"""EMPG: confident steps count more, and so do steps with a clear future.

"Harnessing Uncertainty: Entropy-Modulated Policy Gradients for Long-Horizon
LLM Agents" (https://arxiv.org/abs/2509.09265), on GRPO. The paper's runs are
agents whose steps end with their turns; turns are not in the library yet:
hence no variant of a model. Ours: a completion's steps end with a comma, as
the equations of both tasks do [inferred].

python -m rlvr_jax.train --config=experiments/empg.py:tiny --workdir=runs/empg
(":tiny" and ":chain" run on a CPU)
"""

from experiments import common


def get_config(arg: str = "tiny"):
  """EMPG on a variant of `common.TASKS`."""
  config = common.base(arg)
  config.advantage = dict(
    name="grpo_advantages",  # table 1: GRPO or DAPO
    normalize_std=True,  # [inferred]
    epsilon=1e-6,  # [code*] lasgroup/SDPO, a fork of verl
    ddof=1,  # [code*] lasgroup/SDPO, a fork of verl
  )
  config.derived = ("segment_ids",)
  config.segment_ids = dict(separator_ids=(17,))  # ours: ","
  config.token_weights = ("empg_weights",)  # project page
  config.empg_weights = dict(
    sharpness=1.0,  # project page, k
    future_sharpness=1.0,  # project page, k'
    future_coef=0.1,  # project page, zeta
  )
  config.token_loss = dict(
    name="ppo_clip",
    clip_low=0.2,  # [inferred]
    clip_high=0.2,  # [inferred]
  )
  config.aggregate = dict(name="token_mean")  # [inferred], verl's default
  return config
