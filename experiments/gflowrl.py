"""GFlowRL: trajectory balance with the group's own log Z; no head.

"GFlowRL" (https://arxiv.org/abs/2607.13394), read through others' notes; no
code is in reach. The bounds of its residual clip are not known to us: none
here. The control that says what a learned log Z is worth.

python -m rlvr_jax.train --config=experiments/gflowrl.py:tiny --workdir=runs/g
(":tiny", ":chain" and ":tiny_mixed" run on a CPU; no variant of the paper's
models, whose settings we have not read)
"""

import math

from experiments import common


def get_config(arg: str = "tiny"):
  """GFlowRL on a variant of `common.TASKS`."""
  config = common.base(arg)
  config.scalars = dict(inv_temp=8.0)  # via notes: best of 1 to 10
  config.derived = ("vargrad_log_z",)
  config.vargrad_log_z = dict(anchor_logprobs="ref_logprobs")
  config.sequence_loss = dict(
    name="trajectory_balance",
    log_partition="vargrad_log_z",  # via notes
    anchor_logprobs="ref_logprobs",  # via notes
    length_norm="none",  # [inferred]: keeps the optimum exact
    w_mode="sequence",  # via notes
    w_low=0.0,  # via notes: min(ratio, 1 + e_is)
    w_high=2.0,  # via notes
    residual_low=-math.inf,  # not known
    residual_high=math.inf,  # not known
    units="accuracy",  # ours: a loss of order 1
  )
  return config
