"""VarGrad trajectory balance, as in TBA: the group's log Z, a fixed anchor.

"Trajectory Balance with Asynchrony" (https://arxiv.org/abs/2503.18929);
[code] is bbartoldson/TBA:src/tba_trainer_gsm8k.py. Its buffer and its
asynchrony are left out: all rows are on-policy. It samples 20 responses of a
prompt; ":tiny" keeps the 8 of the other files.

python -m rlvr_jax.train --config=experiments/vargrad.py:tiny --workdir=runs/v
(":tiny", ":chain" and ":tiny_mixed" run on a CPU; its model, RhoMath-1B, is
none of ours)
"""

from experiments import common


def get_config(arg: str = "tiny"):
  """TBA's loss on a variant of `common.TASKS`."""
  config = common.base(arg)
  # [code]: beta 0.014 to 0.004 linearly over 500 updates; kappa is 1 / beta
  config.scalars = dict(
    inv_temp=dict(
      start=1 / 0.014,  # [code]
      stop=1 / 0.004,  # [code]
      num_steps=500,  # [code]
      shape="harmonic",  # [code]
    )
  )
  config.derived = ("vargrad_log_z",)
  config.vargrad_log_z = dict(
    anchor_logprobs="ref_logprobs",  # [code]
    length_norm="none",  # [code]
    mean_over="group",  # [code]
  )
  config.sequence_loss = dict(
    name="trajectory_balance",
    log_partition="vargrad_log_z",  # [code]
    anchor_logprobs="ref_logprobs",  # [code]
    length_norm="none",  # [code]
    w_mode="none",  # [code]
    units="accuracy",  # ours: a loss of order 1
  )
  return config
