r"""W-REINFORCE: punish wrong answers, reward right ones a tenth as much.

"The Surprising Effectiveness of Negative Reinforcement in LLM Reasoning"
(https://arxiv.org/abs/2506.01347), sections read through notes; [code] is
TianHongZXY/RLVR-Decomposed. Its NSR is --config.advantage.positive_weight=0.0,
its PSR --config.advantage.negative_weight=0.0 with a positive weight of 1.

python -m rlvr_jax.train --config=experiments/w_reinforce.py:tiny \
  --workdir=runs/w_reinforce
(":tiny" and ":chain" run on a CPU; the model variants are the paper's runs)
"""

from experiments import common

MODELS = ("qwen2p5_math_7b", "qwen3_4b")


def get_config(arg: str = "tiny"):
  """W-REINFORCE on a variant of `common.TASKS` or of MODELS."""
  config = common.base(arg, MODELS)
  config.advantage = dict(
    name="signed_advantages",
    positive_weight=0.1,  # section 5
    negative_weight=1.0,  # section 5, eq. 9
  )
  config.token_loss = dict(
    name="ppo_clip",
    clip_low=0.2,  # appendix D.1
    clip_high=0.2,  # appendix D.1
  )
  config.aggregate = dict(
    name="token_mean"  # [code] verl/trainer/ppo/core_algos.py
  )
  config.regularizers = ("entropy_bonus",)  # appendix D.1
  config.entropy_bonus = dict(
    coef=1e-4  # appendix D.1; [code] verl/trainer/config/ppo_trainer.yaml: 1e-3
  )
  config.updates.num_minibatches = 4  # appendix D.1: 256 of 1024 prompts
  if arg in MODELS:
    _paper(config, arg)
  return config


def _paper(config, arg):
  """Section 3.1 and appendix D.1."""
  config.data = dict(
    **common.FROM_FILES,
    name="math",  # section 3.1: the 7,500 training problems
    variant="train",  # [code] run_qwen2.5-math-7b_psr_nsr.sh
    verifier="math",  # section 3.1
    prompt_tokens=1024,  # [code] run_qwen2.5-math-7b_psr_nsr.sh
  )
  config.num_steps = 140  # [code]: 20 epochs of 7 batches
  config.prompts_per_step = 1024  # section 3.1
  config.rollout.num_generations = 8  # section 3.1
  config.rollout.completion_tokens = {
    "qwen2p5_math_7b": 3072,  # appendix D.1: 4,096 with the prompt
    "qwen3_4b": 31_744,  # appendix D.1: 32,768 with the prompt
  }[arg]
  config.rollout.temperature = 1.0  # appendix D.1
  config.optimizer.learning_rate = 1e-6  # appendix D.1
  config.optimizer.weight_decay = 0.01  # [inferred], verl's default
  config.optimizer.clip_norm = 1.0  # [code] ppo_trainer.yaml
