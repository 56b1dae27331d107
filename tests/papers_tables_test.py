"""Resolved experiment files equal the tables of the papers' settings."""

import math

import pytest

from experiments import flowrl
from experiments import gflowrl
from experiments import paced_controls
from experiments import paced_rl
from experiments import rlrt
from experiments import rlsd
from experiments import sdpo
from experiments import vargrad
from rlvr_jax import experiment as experiment_lib
from rlvr_jax.losses.trajectory_balance import PRESETS
from rlvr_jax.token_weights.teacher import CLIP_WIDTHS

# Both columns of PACED-RL's table of settings, and the decisions where the
# notes on it are silent.
_PACED = {
  "num_steps": 150,
  "prompts_per_step": 128,
  "rollout.num_generations": 8,
  "rollout.temperature": 1.0,
  "rollout.top_k": 0,
  "rollout.top_p": 1.0,
  "rollout.completion_tokens": 3072,
  "data.prompt_tokens": 1024,
  "optimizer.learning_rate": 1e-6,
  "optimizer.weight_decay": 0.1,
  "optimizer.clip_norm": 1.0,
  "updates.num_minibatches": 1,
  "evaluation.every_steps": 10,
  "scalars.inv_temp": 20.0,
  "sequence_loss.anchor_logprobs": "old_logprobs",
  "sequence_loss.length_norm": "none",
  "sequence_loss.w_mode": "none",
  "sequence_loss.units": "accuracy",
  "log_partition.kind": "mlp",
  "log_partition.embedding": "initial",
  "log_partition.pooling": "mean",
  "log_partition.probe_prompts": 256,
  "log_partition.optimizer.learning_rate": 1e-4,
  "log_partition.optimizer.weight_decay": 0.01,
  "log_partition.optimizer.clip_norm": 1.0,
  "selection.name": "nearest_accuracy",
  "selection.target": 0.5,
  "selection.explore_frac": 0.1,
  "selection.no_repeat_frac": 0.25,
  "selection.warmup_steps": 10,
  "selection.warmup_error": 0.1,
  "replay.capacity": 128,
  "replay.insert_rows": 64,
  "replay.replay_rows": 64,
  "replay.min_age": 1,
  "replay.max_age": 4,
  "model.num_layers": 28,
  "model.dtype": "bfloat16",
}
_FAITHFUL = _PACED | {
  "sequence_loss.units": "nats",
  "log_partition.joint_clip": True,
  "log_partition.learns_from_replay": True,
  "log_partition.optimizer.learning_rate": 1e-6,
  "log_partition.optimizer.weight_decay": 0.1,
}
for _key in ("explore_frac", "no_repeat_frac", "warmup_steps", "warmup_error"):
  del _FAITHFUL[f"selection.{_key}"]
_MATH = {"data.name": "deepscaler", "data.verifier": "math"}
_CODE = {"data.name": "deepcoder", "data.verifier": "code"}
_FLOWRL = {
  "num_steps": 33,
  "prompts_per_step": 512,
  "rollout.num_generations": 8,
  "rollout.temperature": 1.0,
  "rollout.completion_tokens": 8192,
  "data.name": "dapo_math_17k",
  "data.prompt_tokens": 2048,
  "optimizer.learning_rate": 1e-6,
  "optimizer.warmup_steps": 10,
  "optimizer.weight_decay": 0.1,
  "optimizer.clip_norm": 1.0,
  "updates.num_minibatches": 16,
  "scalars.inv_temp": 15.0,
  "advantage.normalize_std": True,
  "advantage.ddof": 1,
  "advantage.epsilon": 1e-6,
  "sequence_loss.rewards": "advantages",
  "sequence_loss.anchor_logprobs": "ref_logprobs",
  "sequence_loss.length_norm": "token",
  "sequence_loss.w_mode": "sequence",
  "sequence_loss.w_high": 10.0,
  "log_partition.embedding": "live",
  "log_partition.pooling": "mean_but_last",
  "log_partition.joint_clip": True,
  "log_partition.optimizer.learning_rate": 1e-6,
  "log_partition.optimizer.weight_decay": 0.1,
  "log_partition.optimizer.warmup_steps": 10,
  "model.vocab_size": 152_064,
}
# What RLRT's paper runs alike for all methods, and its own two numbers.
_RLRT = {
  "prompts_per_step": 256,
  "rollout.num_generations": 8,
  "rollout.temperature": 1.0,
  "rollout.top_p": 1.0,
  "rollout.completion_tokens": 20_480,
  "data.prompt_tokens": 2048,
  "data.name": "dapo_math_17k",
  "updates.num_minibatches": 2,
  "optimizer.learning_rate": 1e-6,
  "optimizer.warmup_steps": 20,
  "optimizer.schedule": "constant",
  "optimizer.b1": 0.9,
  "optimizer.b2": 0.999,
  "optimizer.weight_decay": 0.01,
  "optimizer.clip_norm": 1.0,
  "token_loss.clip_low": 0.2,
  "token_loss.clip_high": 0.28,
  "token_loss.dual_clip": 3.0,
  "truncated_importance.cap": 2.0,
  "advantage.normalize_std": True,
  "advantage.ddof": 1,
  "advantage.epsilon": 1e-6,
  "aggregate.name": "token_mean",
  "teacher.context": "sibling",
  "teacher.weights": "current",
  "teacher.prompt_tokens": 22_528,
  "scalars.teacher_mix": 0.5,
  "reversed_teacher.gate": "correct",
  "d_hat.student_logprobs": "old_logprobs",
}
_RLSD = {
  "teacher.correct_only": False,
  "scalars.teacher_mix.start": 0.5,
  "scalars.teacher_mix.stop": 0.0,
  "scalars.teacher_mix.num_steps": 50,
  "scalars.teacher_clip": 0.2,
  "teacher.context": "gold_answer",
}
_SDPO = {
  "token_loss.alpha": 0.5,
  "token_loss.tail": True,
  "token_loss.max_ratio": 2.0,
  "teacher.top_k": 100,
  "teacher.weights": "ema",
  "teacher.ema_rate": 0.05,
  "teacher.strips_thinking": True,
  "optimizer.learning_rate": 1e-5,
  "prompts_per_step": 32,
  "rollout.num_generations": 8,
  "updates.num_minibatches": 1,
}
_STUDY = {
  "teacher.weights": "frozen",
  "teacher.top_k": 100,
  "prompts_per_step": 256,
  "rollout.num_generations": 8,
  "updates.num_minibatches": 2,
  "optimizer.learning_rate": 1e-5,
  "rollout.completion_tokens": 20_480,
  "num_steps": 100,
}
_KINDS = {
  "qwen3_4b_base": "base",
  "qwen3_8b_base": "base",
  "qwen3_4b_instruct": "instruct",
  "qwen3_8b": "thinking",
}
_TABLES = [
  *(
    (rlrt, arg, _RLRT | {"scalars.teacher_clip": CLIP_WIDTHS[kind]})
    for arg, kind in _KINDS.items()
  ),
  (rlrt, "qwen3_4b_base+all", {"reversed_teacher.gate": "all"}),
  *((rlsd, arg, _RLSD) for arg in _KINDS),
  *((sdpo, arg, _SDPO) for arg in _KINDS),
  *((sdpo, f"{arg}+study", _STUDY) for arg in _KINDS),
  (paced_rl, "qwen2p5_math_1p5b", _PACED | _MATH | {"model.width": 1536}),
  (paced_rl, "qwen2p5_math_7b", _PACED | _MATH | {"model.width": 3584}),
  (paced_rl, "deepcoder_1p5b", _PACED | _CODE | {"model.width": 1536}),
  (paced_rl, "qwen2p5_math_1p5b+faithful", _FAITHFUL | _MATH),
  (flowrl, "qwen2p5_7b", _FLOWRL),
  (flowrl, "qwen2p5_7b+paper", {"sequence_loss.w_low": 0.8}),
  (flowrl, "qwen2p5_7b+code", {"sequence_loss.w_high": math.inf}),
]


@pytest.mark.parametrize(
  "module, arg, table",
  _TABLES,
  ids=[f"{m.__name__}:{a}" for m, a, _ in _TABLES],
)
def test_a_paper_s_run_equals_its_table(module, arg, table):
  config = module.get_config(arg)
  for key, value in table.items():
    found = config
    for part in key.split("."):
      found = found[part]
    assert found == value, key
  assert experiment_lib.load(config.to_dict())


# What an experiment file says and the preset of its name, spelled out.
@pytest.mark.parametrize(
  "module, arg, preset",
  [
    (paced_rl, "qwen2p5_math_7b", "paced"),
    (paced_rl, "qwen2p5_math_7b+faithful", "paced_faithful"),
    (flowrl, "qwen2p5_7b", "flowrl_recipe"),
    (flowrl, "qwen2p5_7b+paper", "flowrl_paper"),
    (flowrl, "qwen2p5_7b+code", "flowrl_code"),
    (gflowrl, "tiny", "gflowrl"),
    (vargrad, "tiny", "vargrad"),
  ],
)
def test_files_agree_with_the_presets(module, arg, preset):
  expected = dict(PRESETS[preset])
  experiment = experiment_lib.load(module.get_config(arg).to_dict())
  loss = experiment.method.sequence_loss
  assert loss.fields["anchor_logprobs"] == expected.pop("anchor")
  assert loss.fields["rewards"] == expected.pop("rewards")
  source = {"head": "log_partition", "group": "vargrad_log_z"}
  assert loss.fields["log_partition"] == source[expected.pop("z_source")]
  kappa = experiment.method.scalars["inv_temp"]
  assert kappa.start == pytest.approx(expected.pop("inv_temp"))
  for name, value in expected.items():
    # The scale of a loss is ours to choose where no head shares its clip.
    if name != "units":
      assert loss.settings.get(name) == value, name


# Length norm and anchor of the group's log Z are those of its loss.
@pytest.mark.parametrize(
  "config",
  [
    gflowrl.get_config(),
    vargrad.get_config(),
    paced_controls.get_config("tiny+head_selects_only"),
  ],
  ids=["gflowrl", "vargrad", "head_selects_only"],
)
def test_a_group_s_log_z_is_that_of_its_loss(config):
  method = experiment_lib.load(config.to_dict()).method
  (derived,) = method.derived
  loss = method.sequence_loss
  for name in ("logprobs", "anchor_logprobs", "rewards", "inv_temp"):
    assert derived.fields[name] == loss.fields[name]
  norm = lambda part: part.settings.get("length_norm", "none")
  assert norm(derived) == norm(loss)


@pytest.mark.parametrize("control", paced_controls.CONTROLS)
@pytest.mark.parametrize("variant", ["tiny", "chain", "qwen2p5_math_1p5b"])
def test_every_control_loads(variant, control):
  config = paced_controls.get_config(f"{variant}+{control}")
  assert experiment_lib.load(config.to_dict())


@pytest.mark.parametrize(
  "module, arg, message",
  [
    (paced_rl, "tiny+best", r"\+best: only \+faithful"),
    (paced_controls, "tiny+best", "control 'best': choose one of"),
    (flowrl, "tiny+best", "weights 'best': choose paper or code"),
    (rlrt, "tiny+best", r"\+best: only \+all"),
    (rlsd, "tiny+best", r"\+best: only \+sibling"),
    (sdpo, "tiny+best", r"\+best: choose \+token or \+study"),
  ],
)
def test_an_unknown_addition_is_refused(module, arg, message):
  with pytest.raises(ValueError, match=message):
    module.get_config(arg)
