"""PACED-RL: trajectory balance to the last snapshot; log Z picks the prompts.

"Beyond Normalization: Rethinking the Partition Function as a Difficulty
Scheduler for RLVR" (https://arxiv.org/abs/2602.12642). No code of it is in
reach and its text was read through two people's notes: "via notes" marks what
they state. What they leave open is [inferred] or ours; "+faithful" undoes what
we changed. Ours beyond the paper: exploration, no-repeat window, warm-up.

python -m rlvr_jax.train --config=experiments/paced_rl.py:tiny --workdir=runs/p
(":tiny", ":chain" and ":tiny_mixed" run on a CPU; ":qwen2p5_math_1p5b",
":qwen2p5_math_7b" and ":deepcoder_1p5b" are the paper's runs)
"""

from experiments import common

MODELS = ("qwen2p5_math_1p5b", "qwen2p5_math_7b", "deepcoder_1p5b")


def get_config(arg: str = "tiny"):
  """PACED-RL on a variant of `common.TASKS` or of MODELS, or "+faithful"."""
  variant, _, faithful = arg.partition("+")
  config = common.base(variant, MODELS)
  config.scalars = dict(inv_temp=20.0)  # via notes: beta 0.05
  config.sequence_loss = dict(
    name="trajectory_balance",
    anchor_logprobs="old_logprobs",  # via notes
    length_norm="none",  # [inferred]: its proposition 4.1 needs the sum
    w_mode="none",  # [inferred]
    units="accuracy",  # ours: a loss of order 1
  )
  config.log_partition = dict(
    kind="mlp",  # via notes: three layers
    embedding="initial",  # via notes: of the reference model, precomputed
    pooling="mean",  # ours
    probe_prompts=256,  # ours
    optimizer=dict(
      learning_rate=1e-4,  # ours: 100 times the policy's
      weight_decay=0.01,  # ours
      clip_norm=1.0,  # ours
    ),
  )
  config.selection = dict(
    name="nearest_accuracy",  # via notes: greedy
    target=0.5,  # via notes
    explore_frac=0.1,  # ours
    no_repeat_frac=0.25,  # ours
    warmup_steps=10,  # ours
    warmup_error=0.1,  # ours
  )
  config.replay = dict(
    capacity=128,  # via notes: "128 buffer / add 64"
    insert_rows=64,  # via notes
    replay_rows=64,  # [inferred]
    min_age=1,  # [inferred]
    max_age=4,  # [inferred]
  )
  config.updates.measures_ref_kl = True  # ours: nothing bounds the drift
  if variant in MODELS:
    _paper(config, variant)
  else:
    config.log_partition.optimizer.learning_rate = 3e-3  # ours: 6 times
    for key in ("capacity", "insert_rows", "replay_rows"):
      config.replay[key] //= 4  # ours: as the batch, of 32 prompts
  if faithful:
    _faithful(config, faithful)
  return config


def _paper(config, variant):
  """Its table of settings, via notes."""
  code = variant == "deepcoder_1p5b"
  config.data = dict(
    **common.FROM_FILES,
    name="deepcoder" if code else "deepscaler",  # via notes
    variant="train",  # ours
    verifier="code" if code else "math",  # via notes
    prompt_tokens=1024,  # via notes
  )
  config.num_steps = 150  # via notes, for math; 40 hours for code
  config.prompts_per_step = 128  # [inferred]
  config.rollout.num_generations = 8  # via notes
  config.rollout.completion_tokens = 3072  # via notes
  config.rollout.temperature = 1.0  # via notes
  config.optimizer.learning_rate = 1e-6  # via notes
  config.optimizer.weight_decay = 0.1  # via notes
  config.evaluation.every_steps = 10  # via notes


def _faithful(config, name):
  """Nothing of ours: greedy, one clip, one learning rate, raw loss."""
  if name != "faithful":
    raise ValueError(f"+{name}: only +faithful is known here")
  config.sequence_loss.units = "nats"
  config.log_partition.update(joint_clip=True, learns_from_replay=True)
  config.log_partition.optimizer.update(
    learning_rate=config.optimizer.learning_rate,
    weight_decay=config.optimizer.weight_decay,
  )
  config.selection = dict(name="nearest_accuracy", target=0.5)  # via notes
