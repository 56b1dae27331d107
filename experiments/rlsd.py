"""RLSD: more weight on what a teacher with the answer would have said.

"Self-Distilled RLVR" (https://arxiv.org/abs/2604.03128); [code] is
lauyikfung/SDPG, somebody else's. The teacher is the policy shown the reference
answer; the method that RLRT turns around. ":qwen3_..." are the baselines of
RLRT's paper, ":tiny+sibling" shows a right response as RLRT does, so that the
two differ in the sign alone.

python -m rlvr_jax.train --config=experiments/rlsd.py:tiny --workdir=runs/rlsd
(":tiny", ":chain" and ":tiny_mixed" run on a CPU)
"""

from experiments import rlrt

MODELS = rlrt.MODELS


def get_config(arg: str = "tiny"):
  """RLSD on a variant of `common.TASKS` or of MODELS, or "+sibling"."""
  variant, _, context = arg.partition("+")
  if context not in ("", "sibling"):
    raise ValueError(f"+{context}: only +sibling is known here")
  config = rlrt.get_config(variant)
  del config.reversed_teacher
  config.token_weights = ("rlsd",)  # [code] core_algos.py
  config.scalars = dict(
    teacher_mix=dict(start=0.5, stop=0.0, num_steps=50),  # [code]
    teacher_clip=0.2,  # [code]
  )
  config.teacher.correct_only = False  # [code]: all rows
  config.teacher.context = context or "gold_answer"  # [code]
  return config
