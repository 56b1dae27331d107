"""SDFT: a teacher with a demonstration, followed over the whole vocabulary.

"Self-Distillation Enables Continual Learning"
(https://arxiv.org/abs/2601.19897), read in excerpts. Text and code of it
disagree on the direction of the divergence: `direction` chooses.

python -m rlvr_jax.train --config=experiments/sdft.py:tiny --workdir=runs/sdft
(":tiny", ":chain" and ":tiny_mixed" run on a CPU)
"""

from experiments import common


def get_config(arg: str = "tiny"):
  """SDFT on a variant of `common.TASKS`."""
  config = common.base(arg)
  common.taught(config, arg)
  config.teacher.context = "gold_solution"  # excerpt: a gold demonstration
  config.teacher.weights = "ema"  # excerpt
  config.teacher.ema_rate = 0.05  # ours
  config.token_loss = dict(
    name="sdft",
    direction="teacher_student",  # [inferred]
  )
  config.filters = ("with_teacher",)  # ours: every row has one
  config.aggregate = dict(name="token_mean")  # [inferred]
  return config
