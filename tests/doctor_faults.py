"""Small runs with one fault each, for the doctor; and healthy ones.

python -m tests.doctor_faults --config=tests/doctor_faults.py:FAULT
--config.warm_start.source=FOLDER --workdir=FOLDER

A fault that a setting can make is one; the others are bugs of ours or of a
user's, put in the place of one function.
"""

import collections
import functools
import sys

NUM_STEPS = 30
# Experiment files whose tiny variant runs as it is.
HEALTHY = ("grpo", "dapo", "rlrt", "paced_rl", "cispo", "gspo", "reinforce_pp")


# A run of seconds, and one with a fault.
QUICK = ("quick", "quick_recompiles")


def get_config(fault: str):
  """The experiment of a fault, or of a name in HEALTHY or QUICK."""
  name = fault if fault in HEALTHY else _EXPERIMENTS.get(fault, "grpo")
  module = __import__(f"experiments.{name}", fromlist=["get_config"])
  config = module.get_config("tiny")
  config.num_steps = NUM_STEPS
  config.evaluation.update(every_steps=1000, num_prompts=32)
  config.checkpoint.every_steps = 1000
  if fault in _SETTINGS:
    _SETTINGS[fault](config)
  return config


# Settings.


def _quick(config):
  config.num_steps = 12
  config.model.update(width=16, mlp_width=24, num_layers=1)
  config.update(prompts_per_step=8, updates=dict(num_micro_batches=1))
  config.evaluation.update(num_prompts=8, num_generations=4, batch_prompts=8)
  config.warm_start.update(num_steps=0, source="")
  config.data.verifier = "tests.testing:low_first_token_outcomes"
  config.consistency = dict(enabled=False)
  # Long enough for fresh weights to end.
  config.rollout.completion_tokens = 96


def _task_too_hard(config):
  # Whoever has imitated so little solves nothing.
  config.warm_start.update(num_steps=150, target_pass_at_1=1.0)


def _task_too_easy(config):
  _own_verifier(config, "ended_outcomes")


def _crashes(config):
  _own_verifier(config, "crashing_outcomes")


def _learning_rate(config):
  config.optimizer.learning_rate *= 300


def _away_from_reference(config):
  config.updates.measures_ref_kl = True
  config.regularizers = ("kl_k2",)
  config.kl_k2 = dict(coef=-2.0)


def _less_entropy(config):
  config.regularizers = ("entropy_bonus",)
  config.num_steps = 2 * NUM_STEPS
  config.entropy_bonus = dict(coef=-10.0)
  config.optimizer.learning_rate *= 3


def _many_updates(config):
  config.updates.update(num_minibatches=32, num_micro_batches=1)
  config.optimizer.learning_rate *= 2


def _longer_is_right(config):
  _own_verifier(config, "longer_outcomes")
  # Fresh weights, which end at any place; imitated ones know where to.
  config.warm_start.update(num_steps=0, source="")
  config.rollout.completion_tokens = 96
  config.optimizer.learning_rate *= 2


def _own_verifier(config, name):
  config.data.verifier = f"tests.doctor_faults:{name}"
  # It would refuse such a verifier before the first step.
  config.consistency = dict(enabled=False)


def _top_p(config):
  config.rollout.top_p = 0.8


def _frozen_head(config):
  config.log_partition.optimizer.learning_rate = 1e-12  # 0 is refused
  config.log_partition.probe_prompts = 0
  config.log_partition.initial = 0.8


def _old_replay(config):
  config.replay.update(min_age=12, max_age=1000)


_EXPERIMENTS = {
  "log_z_not_tracking": "paced_rl",
  "replay_too_old": "paced_rl",
}
_SETTINGS = {
  "quick": _quick,
  "quick_recompiles": _quick,
  "all_wrong_groups": _task_too_hard,
  "all_right_groups": _task_too_easy,
  "verifier_failures": _crashes,
  "learning_rate_too_high": _learning_rate,
  "kl_blow_up": _away_from_reference,
  "entropy_collapse": _less_entropy,
  "clip_saturation": _many_updates,
  "length_explosion": _longer_is_right,
  "top_p_mismatch": _top_p,
  "log_z_not_tracking": _frozen_head,
  "replay_too_old": _old_replay,
}


# Verifiers on device.


def ended_outcomes(*, completion_tokens):
  """Right where there is an end token."""
  return _outcomes(_ended(completion_tokens), "truncated")


def crashing_outcomes(*, completion_tokens, numbers, target):
  """Countdown's, but that every fifth text or so kills its judge."""
  import jax.numpy as jnp

  from rlvr_jax import outcomes
  from rlvr_jax import rewards

  found = rewards.countdown_outcomes(
    completion_tokens=completion_tokens, numbers=numbers, target=target
  )
  kills = _noise(completion_tokens) < 0.2
  return jnp.where(kills, outcomes.OUTCOMES.index("crash"), found)


def longer_outcomes(*, completion_tokens):
  """The longer, the likelier right; never all of a group."""
  import jax.numpy as jnp

  ended = jnp.cumsum(completion_tokens == _end(), axis=1) > 0
  length = jnp.sum(~ended, axis=1)
  return _outcomes(_noise(completion_tokens) < 0.2 + length / 192, "wrong")


def _end():
  from rlvr_jax.data import vocabulary

  return vocabulary.ARITHMETIC.eos_id


def _ended(tokens):
  return (tokens == _end()).any(axis=1)


def _noise(tokens):
  """A number in [0, 1) that is the same for the same text."""
  import jax.numpy as jnp

  places = jnp.arange(tokens.shape[1], dtype=jnp.int32) + 7
  return jnp.sum(tokens * places * places, axis=1) % 97 / 97


def _outcomes(right, otherwise):
  import jax.numpy as jnp

  from rlvr_jax import outcomes

  return jnp.where(right, 0, outcomes.OUTCOMES.index(otherwise))


# Bugs.


def _trainer_temperature():
  """The trainer forgets a temperature."""
  _in_update(lambda rollouts: rollouts, temperature=1.3)


def _forgotten_mass():
  """What top-p left out is not taken off."""
  import jax.numpy as jnp

  _in_update(lambda x: x.replace(log_kept_mass=jnp.zeros_like(x.log_kept_mass)))


def _scrambled_rows():
  """Log-probs come back in another order than responses."""
  import jax.numpy as jnp

  _in_update(
    lambda x: x.replace(
      sampler_logprobs=jnp.roll(x.sampler_logprobs, 1, axis=0)
    )
  )


def _rewards_of_nothing():
  """Every third step a reward is not a number."""
  import jax.numpy as jnp

  from rlvr_jax import update

  honest = update.train_step

  @functools.wraps(honest)
  def train_step(state, rollouts, *given, **settings):
    if rollouts.sampler_logprobs is not None:
      lost = jnp.where(state.step % 3 == 2, jnp.nan, 0.0)
      rollouts = rollouts.replace(rewards=rollouts.rewards + lost)
    return honest(state, rollouts, *given, **settings)

  update.train_step = train_step


def _in_update(change, **settings):
  from rlvr_jax import update

  honest = update.train_step

  @functools.wraps(honest)
  def train_step(state, rollouts, replayed=None, **given):
    # Demonstrations come from no sampler.
    if rollouts.sampler_logprobs is not None:
      rollouts, given = change(rollouts), given | settings
    return honest(state, rollouts, replayed, **given)

  update.train_step = train_step


def _stale_sampler():
  """Weights reach the sampler four steps late."""
  import jax
  import jax.numpy as jnp

  from rlvr_jax import gather

  honest, kept = gather.gather, collections.deque(maxlen=5)

  def stale(run, programs, state, prompts):
    kept.append(jax.tree.map(jnp.copy, state.params))
    found, *others = honest(
      run, programs, state.replace(params=kept[0]), prompts
    )
    return (found.replace(params=state.params), *others)

  gather.gather = stale


def _short_responses():
  """A length that cuts off what the task needs; a setting would be refused."""
  import dataclasses

  from rlvr_jax import collect

  honest = collect.sample

  @functools.wraps(honest)
  def sample(*given, config, **settings):
    config = dataclasses.replace(config, completion_tokens=12)
    return honest(*given, config=config, **settings)

  collect.sample = sample


def _shape_of_the_step():
  """Something beside the programs takes another shape at each step."""
  import jax
  import numpy as np

  from rlvr_jax import gather

  honest = gather.gather
  total = jax.jit(lambda x: (x * x).sum())

  def growing(run, programs, state, prompts):
    growing.steps += 1
    total(jax.device_put(np.ones(growing.steps + 100, np.float32)))
    return honest(run, programs, state, prompts)

  growing.steps = 0
  gather.gather = growing


_BUGS = {
  "temperature_mismatch": _trainer_temperature,
  "top_p_mismatch": _forgotten_mass,
  "skipped_updates": _rewards_of_nothing,
  "sampler_mismatch": _scrambled_rows,
  "truncation": _short_responses,
  "stale_weights": _stale_sampler,
  "recompiles": _shape_of_the_step,
  "quick_recompiles": _shape_of_the_step,
}
FAULTS = tuple(sorted((_SETTINGS.keys() | _BUGS.keys()) - set(QUICK)))


if __name__ == "__main__":
  # Before the modules below bind what the fault replaces.
  chosen = next(x for x in sys.argv if x.startswith("--config="))
  if bug := _BUGS.get(chosen.rpartition(":")[2]):
    bug()
  from rlvr_jax import launch
  from rlvr_jax import train

  launch.run(train.main)
