"""STEER: less weight on the tokens that would change the entropy most.

"Rethinking Entropy Interventions in RLVR: An Entropy Change Perspective"
(https://arxiv.org/abs/2510.10150); [code] is run/run_linear.sh of
zz-haooo/STEER, which every number here is from. Its other form, run_exp.sh, is
--config.steer_weights.schedule=exponential.

python -m rlvr_jax.train --config=experiments/steer.py:tiny --workdir=runs/steer
(":tiny" and ":chain" run on a CPU; ":qwen2p5_math_7b" is the released run)
"""

from experiments import common

MODELS = ("qwen2p5_math_7b",)


def get_config(arg: str = "tiny"):
  """STEER on a variant of `common.TASKS` or of MODELS."""
  config = common.base(arg, MODELS)
  config.advantage = dict(
    name="grpo_advantages",  # [code] adv_estimator
    normalize_std=True,  # [inferred], verl's default
    epsilon=1e-6,  # [code*] lasgroup/SDPO, a fork of verl
    ddof=1,  # [code*] lasgroup/SDPO, a fork of verl
  )
  config.token_weights = ("steer_weights",)
  config.steer_weights = dict(
    schedule="linear",  # [code] policy_loss.linear
    weight_min=0.8,  # [code] policy_loss.token_weight_min
    weight_max=1.2,  # [code] policy_loss.token_weight_max
  )
  config.token_loss = dict(
    name="ppo_clip",
    clip_low=0.2,  # [code] clip_ratio_low
    clip_high=0.28,  # [code] clip_ratio_high
    dual_clip=10.0,  # [code] clip_ratio_c
  )
  config.aggregate = dict(name="token_mean")  # [inferred], verl's default
  config.updates.num_minibatches = 2  # ours: the second one meets the clip
  if arg in MODELS:
    _released(config)
  return config


def _released(config):
  """The released run, from Qwen2.5-Math-7B."""
  config.data = dict(
    **common.FROM_FILES,
    name="dapo_math_17k",  # [code] train_path
    variant="train",  # ours
    verifier="math",  # [code] best_metric_key
    prompt_tokens=1024,  # [code] max_prompt_length
  )
  config.num_steps = 330  # [code]: 10 epochs of 17,000 prompts [inferred]
  config.prompts_per_step = 512  # [code] train_batch_size
  config.rollout.num_generations = 8  # [code] rollout.n
  config.rollout.completion_tokens = 3072  # [code] max_response_length
  config.rollout.temperature = 1.0  # [inferred], verl's default
  config.optimizer.learning_rate = 1e-6  # [code] optim.lr
  config.optimizer.weight_decay = 0.01  # [inferred], verl's default
  config.optimizer.clip_norm = 1.0  # [inferred], verl's default
  config.updates.num_minibatches = 16  # [code] 32 prompts each
