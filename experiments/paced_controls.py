"""Controls of PACED-RL: which of its parts does the work.

Each takes one part out of "Beyond Normalization"
(https://arxiv.org/abs/2602.12642), or puts something in its place: ":tiny" and
":tiny+uniform" draw prompts uniformly, "+no_replay" leaves replay out,
"+dynamic" samples until all groups are mixed, "+oracle" measures accuracy by
further samples, "+head_selects_only" takes the group's mean as baseline and
the head for selection, "+noise" has a random log Z.
`experiments/gflowrl.py` and `experiments/vargrad.py` have no head.

python -m rlvr_jax.train --config=experiments/paced_controls.py:tiny+oracle \
    --workdir=runs/oracle
(--config=experiments/paced_controls.py:tiny, ":chain" and ":tiny_mixed" run on
a CPU)
"""

from experiments import paced_rl

MODELS = paced_rl.MODELS


def get_config(arg: str = "tiny"):
  """PACED-RL on a variant of `common.TASKS` or of MODELS, with a control."""
  variant, _, control = arg.partition("+")
  control = control or "uniform"
  if control not in CONTROLS:
    raise ValueError(f"control {control!r}: choose one of {list(CONTROLS)}")
  config = paced_rl.get_config(variant)
  CONTROLS[control](config)
  return config


def _no_replay(config):
  """The scheduler alone."""
  config.replay.capacity = 0  # the control


def _uniform(config):
  """Uniform selection; the head is a baseline, and ranks replay."""
  config.selection = dict(name="uniform")


def _dynamic(config):
  """Uniform prompts until every group has two verdicts, as DAPO does."""
  config.refill = dict(max_rounds=8)  # ours
  _uniform(config)
  _no_replay(config)


def _oracle(config):
  """Accuracy measured by further samples: the best a head could do."""
  # ours: 8 times as many candidates as prompts
  num_prompts = 8 * config.prompts_per_step
  config.candidates = dict(num_prompts=num_prompts, num_generations=8)  # ours
  _no_replay(config)


def _head_selects_only(config):
  """The group's mean as baseline; the head is fitted beside."""
  z_fit = dict(config.sequence_loss)
  del z_fit["name"]
  config.derived = ("vargrad_log_z",)
  config.vargrad_log_z = dict(anchor_logprobs="old_logprobs")
  config.sequence_loss.log_partition = "vargrad_log_z"
  # With the policy's log-probabilities frozen, only the head learns from it.
  config.regularizers = ("trajectory_balance",)
  config.trajectory_balance = dict(z_fit, logprobs="old_logprobs")
  _no_replay(config)


def _noise(config):
  """Random log Z, uniform selection: what is left without a head."""
  config.derived = ("noise_log_partition",)
  config.noise_log_partition = dict(mean=0.5, std=1.0)  # GFlowRL, via notes
  config.sequence_loss.log_partition = "noise_log_partition"
  del config.log_partition
  _no_replay(config)
  _uniform(config)


CONTROLS = {
  "no_replay": _no_replay,
  "uniform": _uniform,
  "dynamic": _dynamic,
  "oracle": _oracle,
  "head_selects_only": _head_selects_only,
  "noise": _noise,
}
