"""SRPO: right responses by GRPO, wrong ones towards a teacher.

https://arxiv.org/abs/2604.02288; [code*] is jungseongryong/L2T, somebody
else's, and "scripts" a note on those of RLRT's paper, of which it is a
baseline. A wrong response with a right sibling follows the teacher where the
teacher is sure.

python -m rlvr_jax.train --config=experiments/srpo.py:tiny --workdir=runs/srpo
(":tiny", ":chain" and ":tiny_mixed" run on a CPU)
"""

from experiments import common


def get_config(arg: str = "tiny"):
  """SRPO on a variant of `common.TASKS`."""
  config = common.base(arg)
  common.taught(config, arg)
  # ours; [code*] has 100 of a large vocabulary
  config.teacher.top_k = 100 if arg == common.CHECKPOINT else 8
  config.advantage = dict(
    name="grpo_advantages",
    normalize_std=False,  # scripts, via notes
  )
  config.derived = ("srpo_weights",)
  config.srpo_weights = dict(temperature=1.0)  # [code*] core_algos.py
  config.token_loss = dict(
    name="srpo",
    alpha=0.5,  # [code*] core_algos.py
    max_ratio=2.0,  # [code*] core_algos.py
    clip_low=0.2,  # scripts, via notes
    clip_high=0.28,  # scripts, via notes
  )
  config.aggregate = dict(name="token_mean")  # [code*]: one denominator
  return config
