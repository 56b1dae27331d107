r"""Unlikeliness: GRPO on rewards that shrink for the likelier solutions.

"Rewarding the Unlikely: Lifting GRPO Beyond Distribution Sharpening"
(https://arxiv.org/abs/2506.02355); [code] is examples/lean/grpo.sh of
AndreHe02/rewarding-unlikely-release. The paper trains a theorem prover on
Lean, which the library has no verifier for: hence no variant of a model. Its
second pass over each batch is not here either; ours: two updates a batch.

python -m rlvr_jax.train --config=experiments/unlikeliness.py:tiny \
  --workdir=runs/unlikeliness
(":tiny" and ":chain" run on a CPU)
"""

from experiments import common


def get_config(arg: str = "tiny"):
  """Unlikeliness on a variant of `common.TASKS`."""
  config = common.base(arg)
  config.reward_shaping = ("unlikeliness",)  # [code]
  config.unlikeliness = dict(rank_coef=0.25)  # [code]
  config.advantage = dict(
    name="grpo_advantages",  # [code]
    normalize_std=True,  # [code]
    epsilon=1e-6,  # [code*] lasgroup/SDPO, a fork of verl
    ddof=1,  # [code*] lasgroup/SDPO, a fork of verl
  )
  config.token_loss = dict(
    name="ppo_clip",
    clip_low=0.2,  # [inferred], verl's default
    clip_high=0.2,  # [inferred], verl's default
  )
  config.aggregate = dict(name="token_mean")  # [inferred], verl's default
  config.updates.num_minibatches = 2  # ours: the second one meets the clip
  return config
