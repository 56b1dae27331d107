"""RLOO: REINFORCE on whole completions, baseline from the other samples.

"Back to Basics: Revisiting REINFORCE Style Optimization for Learning from
Human Feedback in LLMs" (https://arxiv.org/abs/2402.14740), read through notes.
A completion is one action: its tokens' losses are summed, and the KL penalty
sits in its reward. Ours: 0 and 1 from a verifier in ":tiny" and ":chain",
where the paper's reward is a learned model's.

python -m rlvr_jax.train --config=experiments/rloo.py:tiny --workdir=runs/rloo
(":tiny" and ":chain" run on a CPU; ":llama_7b" is the paper's run on
Anthropic-HH)
"""

from experiments import common

MODELS = ("llama_7b",)


def get_config(arg: str = "tiny"):
  """RLOO on a variant of `common.TASKS` or of MODELS."""
  config = common.base(arg, MODELS)
  config.reward_shaping = ("sequence_kl_penalty",)  # eq. 3
  config.sequence_kl_penalty = dict(
    kl_coef=0.03  # appendix C, Pythia on TL;DR
  )
  config.advantage = dict(name="rloo_advantages")  # section 2.3
  config.token_loss = dict(name="reinforce")  # section 2.3: no ratio, no clip
  config.aggregate = dict(
    name="fixed_length",
    length=1,  # section 2.3: log-probability of the completion, a sum
  )
  if arg in MODELS:
    _paper(config)
  return config


def _paper(config):
  """Appendix C, Llama on Anthropic-HH."""
  config.sequence_kl_penalty.kl_coef = 0.1  # appendix C
  config.data = dict(
    **common.FROM_FILES,
    name="anthropic_hh",  # section 4
    variant="prompts",  # ours
    verifier="reward_model",  # section 4
    prompt_tokens=348,  # appendix C: longer ones are left out
  )
  config.num_steps = 440  # appendix C: 2 epochs, of 112k prompts [inferred]
  config.prompts_per_step = 512  # appendix C: 2048 rows, of 4 samples each
  config.rollout.num_generations = 4  # section 5.1, the better of 2 and 4
  config.rollout.completion_tokens = 128  # ours, not reported
  config.rollout.temperature = 1.0  # [inferred], not reported
  config.optimizer.learning_rate = 1e-6  # appendix C
  config.optimizer.schedule = "constant"  # appendix C
  config.optimizer.warmup_steps = 13  # appendix C: 3 % of the steps
  # Appendix C: updates of 2048 rows, the whole batch. Its second update on
  # the same rows has no setting here.
  config.updates.num_minibatches = 1
