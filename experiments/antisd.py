"""AntiSD: a bonus on what a teacher would not have said, on every response.

https://arxiv.org/abs/2605.11609, read through one person's notes ("one note").
The bonus is added to the advantage, so that groups without variance learn too;
it fades as the teacher grows certain.

python -m rlvr_jax.train --config=experiments/antisd.py:tiny --workdir=runs/a
(":tiny", ":chain" and ":tiny_mixed" run on a CPU)
"""

from experiments import common
from experiments import rlrt


def get_config(arg: str = "tiny"):
  """AntiSD on a variant of `common.TASKS`."""
  common.base(arg)  # a task: the paper's own runs are not in reach
  config = rlrt.get_config(arg)
  del config.reversed_teacher
  config.token_weights = ("antisd",)  # one note
  config.scalars = dict(teacher_mix=0.1)  # ours: no number is in reach
  config.antisd = dict(
    warm_entropy=0.1,  # ours, nats: H_warm of the warm start is not in reach
    off_frac=0.93,  # one note
  )
  return config
