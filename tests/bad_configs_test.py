"""Bad settings are refused by name, before anything is compiled."""

import copy

import jax
import pytest

from experiments import grpo
from experiments import paced_rl
from experiments import rlrt
from rlvr_jax import errors
from rlvr_jax import experiment as experiment_lib

_GONE = object()
# Of GRPO: a setting, a bad value, and what the message names beside it.
_BAD = [
  # Not there, or not known.
  ("num_steps", _GONE, "config.num_steps is missing"),
  ("model", _GONE, "config.model is missing"),
  ("rollout.num_generations", _GONE, "num_generations is missing"),
  ("optimizer.learning_rate", _GONE, "config.optimizer.learning_rate is miss"),
  ("num_stepz", 3, "config.num_stepz is read by nothing: did you mean"),
  ("rollout.temprature", 1.0, "did you mean 'temperature'"),
  ("model.num_layer", 2, "did you mean 'num_layers'"),
  ("updates.micro_batches", 4, "config.updates has no key 'micro_batches'"),
  ("consistency.max_gapp", 1.0, "did you mean 'max_gap'"),
  ("numerics.max_skip", 1, "did you mean 'max_skipped'"),
  ("token_loss.clip_hi", 0.2, "no hyper-parameter 'clip_hi'"),
  ("advantage.normalise_std", True, "no hyper-parameter 'normalise_std'"),
  ("ppo_clip", {"clip_low": 0.1}, "config.ppo_clip is read by nothing"),
  # Of another type.
  ("num_steps", "many", "config.num_steps is 'many', a str"),
  ("num_steps", 1.5, "config.num_steps is 1.5, a float"),
  ("num_steps", True, "config.num_steps is True, a bool"),
  ("seed", None, "config.seed is None"),
  ("rollout", 3, "config.rollout is 3: give a dict"),
  ("rollout.top_k", 2.0, "config.rollout.top_k is 2.0, a float"),
  ("rollout.top_p", "0.9", "config.rollout.top_p is '0.9', a str"),
  ("model.width", "64", "config.model.width is '64', a str"),
  ("optimizer.learning_rate", "1e-3", "learning_rate is '1e-3', a str"),
  ("consistency.enabled", 1, "config.consistency.enabled is 1, a int"),
  ("data.verifier", 7, "config.data.verifier is 7, a int"),
  # Names of nothing.
  ("token_loss.name", "ppo_klip", "did you mean 'ppo_clip'"),
  ("advantage.name", "grpo", "config.advantage.name is 'grpo'"),
  ("aggregate.name", "tokens_mean", "did you mean 'token_mean'"),
  ("selection", {"name": "unifrom"}, "did you mean 'uniform'"),
  ("regularizers", ("kl_k4",), "config.regularizers"),
  ("reward_shaping", ("overlong",), "config.reward_shaping"),
  ("token_weights", ("entropyy",), "config.token_weights"),
  ("optimizer.schedule", "cosin", "did you mean 'cosine'"),
  ("data.verifier", "nowhere:verify", "config.data.verifier is 'nowhere"),
  ("data.verifier", "countdown_outcome", "did you mean 'countdown_outcomes'"),
  # Out of range.
  ("seed", -1, "config.seed is -1"),
  ("num_steps", 0, "config.num_steps is 0"),
  ("prompts_per_step", 0, "config.prompts_per_step is 0"),
  ("rollout.num_generations", 0, "config.rollout.num_generations is 0"),
  ("rollout.completion_tokens", 0, "config.rollout.completion_tokens is 0"),
  ("rollout.temperature", 0.0, "config.rollout.temperature is 0.0"),
  ("rollout.temperature", -1.0, "config.rollout.temperature is -1.0"),
  ("rollout.slots", -1, "config.rollout.slots is -1"),
  ("sampling_threads", 0, "config.sampling_threads is 0"),
  ("rollout.rows_per_pass", -8, "config.rollout.rows_per_pass is -8"),
  ("data.prompt_tokens", 0, "config.data.prompt_tokens is 0"),
  ("evaluation.every_steps", 0, "config.evaluation.every_steps is 0"),
  ("evaluation.num_prompts", 0, "config.evaluation.num_prompts is 0"),
  ("checkpoint.every_steps", 0, "config.checkpoint.every_steps is 0"),
  ("checkpoint.keep", 0, "config.checkpoint.keep is 0"),
  ("refill.max_rounds", 0, "config.refill.max_rounds is 0"),
  ("numerics.max_skipped", 0, "config.numerics.max_skipped is 0"),
  ("consistency.max_gap", -0.1, "config.consistency.max_gap is -0.1"),
  ("mesh.fsdp", 0, "config.mesh.fsdp is 0"),
  ("model.num_layers", 0, "config.model.num_layers is 0"),
  ("model.num_kv_heads", 0, "config.model.num_kv_heads is 0"),
  ("verifier_pool", {"num_workers": 0}, "num_workers is 0"),
  ("verifier_pool", {"deadline_secs": 0.0}, "deadline_secs is 0"),
  ("verifier_pool", {"max_unjudged_frac": 2.0}, "max_unjudged_frac is 2.0"),
  # What does not go with something else.
  ("rollout.num_generations", 1, "grpo_advantages compares the samples"),
  ("mesh.data", 3, "config.prompts_per_step is 32, which the 3 row shards"),
  ("mesh.tensor", 3, "config.model.num_heads is 4, which config.mesh.tensor"),
  ("mesh.tensor", 4, "config.model.num_kv_heads is 2, which config.mesh"),
  ("updates.num_minibatches", 5, "config.updates.num_minibatches is 5"),
  ("updates.num_micro_batches", 7, "config.updates.num_micro_batches is 7"),
  ("model.num_kv_heads", 3, "num_kv_heads"),
  ("model.head_dim", 15, "head_dim is 15"),
  ("replay", {"capacity": 8}, "config.replay"),
  ("candidates", {"num_prompts": 4}, "config.candidates.num_prompts is 4"),
  ("evaluation.suppresses_markers", True, "config.epistemic names no markers"),
  ("log_partition", {"kind": "mlp"}, "config.log_partition"),
  ("pretrained", {"folder": "/nowhere"}, "config."),
]
_OF_OTHERS = [
  (paced_rl, "scalars", {}, "set a number config.scalars.inv_temp"),
  (paced_rl, "selection.target", "half", "target is 'half', a str"),
  (paced_rl, "selection.name", "nearest_acuracy", "did you mean 'nearest_acc"),
  (paced_rl, "log_partition", _GONE, "config.log_partition is missing"),
  (paced_rl, "log_partition.embedding", "first", "embedding is 'first'"),
  (paced_rl, "replay.replay_rows", 3, "config.replay.replay_rows is 3"),
  (paced_rl, "replay.max_age", 0, "max_age"),
  (paced_rl, "refill.max_rounds", 2, "config.refill.max_rounds is 2"),
  (rlrt, "teacher", _GONE, "set config.teacher"),
  (rlrt, "teacher.rows_per_pass", 7, "config.teacher.rows_per_pass is 7"),
  (rlrt, "teacher.context", "siblings", "did you mean 'sibling'"),
  (rlrt, "teacher.weights", "newest", "config.teacher.weights is 'newest'"),
  (rlrt, "teacher.top_k", 99, "config.teacher.top_k is 99"),
  (rlrt, "warm_start.hints.every", 0, "config.warm_start.hints.every is 0"),
]


def _with(config: dict, name: str, value) -> dict:
  config = copy.deepcopy(config)
  *blocks, last = name.split(".")
  place = config
  for block in blocks:
    place = place[block]
  if value is _GONE:
    del place[last]
  else:
    place[last] = value
  return config


@pytest.mark.parametrize(
  "method, name, value, message",
  [(grpo, *case) for case in _BAD] + _OF_OTHERS,
  ids=lambda x: x if isinstance(x, str) else None,
)
def test_a_bad_setting_is_refused_by_name(
  monkeypatch, method, name, value, message
):
  def compiled(*_, **__):
    raise AssertionError("compiled")

  monkeypatch.setattr(jax, "jit", compiled)
  config = _with(method.get_config("tiny").to_dict(), name, value)
  with pytest.raises(errors.UserError) as refused:
    experiment_lib.load(config)
  assert message in str(refused.value)
  # A sentence each, with a remedy behind the colon.
  for problem in refused.value.args:
    assert "\n" not in problem and ":" in problem, problem


def test_all_of_it_is_told_at_once():
  config = grpo.get_config("tiny").to_dict()
  bad = [
    ("num_steps", "many"),
    ("rollout.temprature", 1.0),
    ("token_loss.name", "ppo_klip"),
    ("modle", 3),
  ]
  for name, value in bad:
    config = _with(config, name, value)
  with pytest.raises(errors.UserError) as refused:
    experiment_lib.load(config)
  told = str(refused.value)
  assert told.startswith("4 settings are wrong:\n  config.modle is read by")
  for text in ("num_steps is 'many'", "'temperature'", "'ppo_clip'"):
    assert text in told
