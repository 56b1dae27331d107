"""HICRA: more credit on planning tokens, whatever the verdict.

"Emergent Hierarchical Reasoning in LLMs through Reinforcement Learning"
(https://arxiv.org/abs/2509.03646), on GRPO with clip-higher. The paper's
planning tokens are strategic n-grams of 3 to 5 words; neither their list nor
its runs' settings could be read: hence no variant of a model. Ours: the two
moves of the tasks, "," to take a further step and "#" to conclude [inferred].

python -m rlvr_jax.train --config=experiments/hicra.py:tiny --workdir=runs/hicra
(":tiny" and ":chain" run on a CPU)
"""

from experiments import common


def get_config(arg: str = "tiny"):
  """HICRA on a variant of `common.TASKS`."""
  config = common.base(arg)
  config.advantage = dict(name="dr_grpo_advantages")  # via notes
  config.derived = ("planning_tokens",)
  config.planning_tokens = dict(phrases=((17,), (20,)))  # ours: "," and "#"
  config.token_weights = ("hicra_weights",)  # via notes
  config.hicra_weights = dict(amplification=0.2)  # via notes, alpha
  config.token_loss = dict(
    name="ppo_clip",
    clip_low=0.2,  # [inferred]
    clip_high=0.28,  # via notes: clip-higher; width [inferred]
  )
  config.aggregate = dict(name="token_mean")  # [inferred]
  return config
