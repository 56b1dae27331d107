"""SDPO: the policy distilled towards itself with a right response in view.

"Reinforcement Learning via Self-Distillation"
(https://arxiv.org/abs/2601.20802); [code] is lasgroup/SDPO. Rows with a right
sibling learn, right or wrong themselves; there is no advantage. "+token" is
the variant on sampled tokens. ":qwen3_8b+study" has the settings of "Why Does
Self-Distillation (Sometimes) Degrade the Reasoning Capability of LLMs?"
(https://arxiv.org/abs/2603.24472) [study: beanie00/self-distillation-analysis].
The other models are the baselines of RLRT's paper.

python -m rlvr_jax.train --config=experiments/sdpo.py:tiny --workdir=runs/sdpo
(":tiny", ":chain" and ":tiny_mixed" run on a CPU)
"""

from experiments import common
from experiments import rlrt

MODELS = rlrt.MODELS


def get_config(arg: str = "tiny"):
  """SDPO on a variant of `common.TASKS` or of MODELS, "+token", "+study"."""
  variant, _, kind = arg.partition("+")
  if kind not in ("", "token", "study"):
    raise ValueError(f"+{kind}: choose +token or +study")
  config = common.base(variant, MODELS)
  config.token_loss = dict(
    name="sdpo",
    alpha=0.5,  # [code] core_algos.py
    tail=True,  # [code] core_algos.py
    max_ratio=2.0,  # [code] core_algos.py
  )
  config.filters = ("with_teacher",)  # [code]: active rows alone count
  config.aggregate = dict(name="token_mean")  # [code] core_algos.py
  if variant in MODELS:
    rlrt.paper(config)
    _paper(config)
  else:
    common.taught(config, variant)
    # ours: a quarter of the small vocabulary, and the code's of a large one
    config.teacher.top_k = 100 if variant == common.CHECKPOINT else 8
  config.teacher.weights = "ema"  # [code]
  config.teacher.ema_rate = 0.05  # [code] dp_actor.py
  if kind == "token":
    config.token_loss = dict(name="sdpo_token", max_ratio=2.0)  # [code]
    config.teacher.top_k = 0  # [code]: no candidates
  elif kind == "study":
    _study(config)
  return config


def _paper(config):
  """Its own defaults where they are not RLRT's."""
  config.teacher.top_k = 100  # [code] core_algos.py
  config.teacher.strips_thinking = True  # [code]
  config.prompts_per_step = 32  # [code]
  config.updates.num_minibatches = 1  # [code]
  config.optimizer.learning_rate = 1e-5  # [code]
  config.optimizer.warmup_steps = 10  # [code]: rollout steps


def _study(config):
  """The study's runs on mathematics: a frozen teacher, larger batches."""
  config.teacher.weights = "frozen"  # [study] README
  config.prompts_per_step = 256  # [study] experiments/math
  config.updates.num_minibatches = 2  # [study]: of 128 prompts
  config.optimizer.learning_rate = 1e-5  # [study]
  config.optimizer.warmup_steps = 20  # [study]: 10 rollout steps
  config.num_steps = 100  # [study]
  config.teacher.strips_thinking = False  # [study]: the full solution
