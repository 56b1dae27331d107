"""OPSD: generalised JSD to a frozen teacher that reads the solution.

"Self-Distilled Reasoner" (https://arxiv.org/abs/2601.18734); [code] is
siyan-zhao/OPSD. The teacher is the initial model with the data set's solution
in its prompt; the loss runs over the whole vocabulary, f32[B, T, V].

python -m rlvr_jax.train --config=experiments/opsd.py:tiny --workdir=runs/opsd
(":tiny", ":chain" and ":tiny_mixed" run on a CPU)
"""

from experiments import common


def get_config(arg: str = "tiny"):
  """OPSD on a variant of `common.TASKS`."""
  config = common.base(arg)
  common.taught(config, arg)
  config.teacher.context = "gold_solution"  # [code] data_collator.py
  config.teacher.weights = "frozen"  # [code]: adapters off
  config.token_loss = dict(
    name="opsd",
    beta=0.5,  # [code] opsd_trainer.py
  )
  config.filters = ("with_teacher",)  # ours: every row has one
  config.aggregate = dict(name="token_mean")  # [inferred]
  return config
