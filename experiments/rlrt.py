"""RLRT: on right responses, more weight on what a teacher would not have said.

"Rebellious Student: Reversing Teacher Signals for Reasoning Exploration with
Self-Distilled RLVR" (https://arxiv.org/abs/2605.10781). The teacher is the
policy shown a right response of the same group. No code of it is in reach: its
text was read through several people's notes ("via notes"; "one note" where a
single one says so) and a note on its scripts ("scripts, via notes"). "+all" is
RLRT-all, the paper's control that drops the gate on right responses.

python -m rlvr_jax.train --config=experiments/rlrt.py:tiny --workdir=runs/rlrt
(":tiny", ":chain" and ":tiny_mixed" run on a CPU; the models are the paper's)
"""

from experiments import common

MODELS = ("qwen3_4b_base", "qwen3_8b_base", "qwen3_4b_instruct", "qwen3_8b")
# How far a token's weight may move: tighter as the model matures. # one note
_CLIP_WIDTHS = {
  "qwen3_4b_base": 1.0,
  "qwen3_8b_base": 1.0,
  "qwen3_4b_instruct": 0.5,
  "qwen3_8b": 0.2,
}


def get_config(arg: str = "tiny"):
  """RLRT on a variant of `common.TASKS` or of MODELS, or "+all"."""
  variant, _, control = arg.partition("+")
  if control not in ("", "all"):
    raise ValueError(f"+{control}: only +all is known here")
  config = common.base(variant, MODELS)
  config.scalars = dict(
    teacher_mix=0.5,  # one note
    teacher_clip=_CLIP_WIDTHS.get(variant, 1.0),
  )
  config.advantage = dict(
    name="grpo_advantages",
    normalize_std=True,  # scripts, via notes
    epsilon=1e-6,  # [code*] lasgroup/SDPO
    ddof=1,  # [code*] lasgroup/SDPO
  )
  config.derived = ("d_hat",)
  config.d_hat = dict(
    student_logprobs="old_logprobs",  # [inferred]
  )
  config.token_weights = ("reversed_teacher",)
  config.reversed_teacher = dict(gate=control or "correct")  # via notes
  config.token_loss = dict(
    name="ppo_clip",
    clip_low=0.2,  # scripts, via notes
    clip_high=0.28,  # scripts, via notes
    dual_clip=3.0,  # [code*] lasgroup/SDPO
  )
  config.aggregate = dict(name="token_mean")  # [code*] lasgroup/SDPO
  if variant in MODELS:
    paper(config)
    config.teacher.correct_only = not control  # ours: no other row is read
  else:
    common.taught(config, variant)
  return config


def paper(config):
  """What its runs of all methods share."""
  config.teacher = dict(
    # [inferred]: the form of lasgroup/SDPO's, in our words
    template="{prompt}\n\nA correct solution of this problem:\n{demonstration}"
    "\n\nNow solve the original problem correctly.\n",
    prompt_tokens=22_528,  # [code*] beanie00/self-distillation-analysis
    context="sibling",  # via notes: a correct rollout
    weights="current",  # [inferred]
    rows_per_pass=256,  # ours
  )
  config.behavior = ("truncated_importance",)  # scripts, via notes
  config.truncated_importance = dict(cap=2.0)  # scripts, via notes
  config.data = dict(
    **common.FROM_FILES,
    name="dapo_math_17k",  # [inferred]
    variant="train",  # ours
    verifier="math",  # [inferred]
    prompt_tokens=2048,  # [inferred]
  )
  config.prompts_per_step = 256  # scripts, via notes
  config.rollout.num_generations = 8  # scripts, via notes
  config.rollout.completion_tokens = 20_480  # [inferred]
  config.rollout.temperature = 1.0  # [code*] lasgroup/SDPO
  config.rollout.top_p = 1.0  # [code*] lasgroup/SDPO
  config.optimizer.learning_rate = 1e-6  # scripts, via notes
  config.optimizer.schedule = "constant"  # scripts, via notes
  config.optimizer.warmup_steps = 20  # scripts, via notes: 10 rollout steps
  config.optimizer.weight_decay = 0.01  # [code*] lasgroup/SDPO
  config.optimizer.clip_norm = 1.0  # [code*] lasgroup/SDPO
  config.updates.num_minibatches = 2  # scripts, via notes: of 128 prompts
