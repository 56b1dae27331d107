"""A teacher, a method and a run agree, or one sentence says why not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import grpo
from experiments import rlrt
from experiments import sdpo
from rlvr_jax import errors
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import teaching
from rlvr_jax.data import vocabulary
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import demonstrations
from tests import testing

_V = vocabulary.ARITHMETIC


def _config(module=rlrt, arg="tiny", **overrides):
  config = module.get_config(arg)
  with config.unlocked():
    for name, value in overrides.items():
      *path, last = name.split("__")
      block = config
      for key in path:
        block = block[key]
      if last in block:
        del block[last]
      block[last] = value
  return config.to_dict()


@pytest.mark.parametrize(
  "module, overrides, message",
  [
    (rlrt, dict(teacher=None), "teacher fills: set config.teacher"),
    (
      grpo,
      dict(teacher=dict(template="{demonstration}{prompt}", prompt_tokens=30)),
      "config.teacher is set, but no function of the method reads",
    ),
    (
      grpo,
      dict(warm_start__hints=dict(every=2)),
      "config.warm_start.hints needs a teacher",
    ),
    (
      rlrt,
      dict(teacher__rows_per_pass=7),
      "config.teacher.rows_per_pass is 7, which does not divide the 256 rows",
    ),
    (sdpo, dict(teacher__top_k=33), "config.teacher.top_k is 33"),
    (rlrt, dict(teacher__context="siblings"), "did you mean 'sibling'"),
    (
      rlrt,
      dict(
        rollout__num_generations=1,
        teacher__context="sibling",
        advantage=dict(name="reinforce_pp_advantages", epsilon=1e-6),
      ),
      "'sibling' shows another sample",
    ),
    (rlrt, dict(teacher__template="{prompt}"), "{demonstration} 0 times"),
    (
      rlrt,
      dict(scalars=dict(teacher_mix=0.5)),
      "names the field 'teacher_clip', which no run fills",
    ),
    (
      rlrt,
      dict(d_hat=dict()),
      "'student_logprobs', which no run fills",
    ),
  ],
)
def test_bad_settings_are_refused_before_any_compile(
  module, overrides, message
):
  with pytest.raises(errors.UserError) as found:
    experiment_lib.load(_config(module, **overrides))
  assert message in str(found.value)
  assert "\n" not in str(found.value)


def test_a_sentence_says_what_a_template_leaves_no_room_for():
  experiment = experiment_lib.load(_config(teacher__prompt_tokens=9))
  with pytest.raises(errors.UserError, match="config.teacher.prompt_tokens"):
    _teach(experiment)


def test_thinking_cannot_be_stripped_without_its_tag():
  experiment = experiment_lib.load(_config(teacher__strips_thinking=True))
  with pytest.raises(errors.UserError, match="strips_thinking is True"):
    _teach(experiment)


def _teach(experiment):
  run, method, _ = experiment
  model = transformer.Transformer(run.model)
  return teaching.make_teach(run, method, model, _V, lambda rows: rows)


@functools.cache
def _taught(arg="tiny", module=rlrt, rows_per_pass=0, correct=True):
  experiment = experiment_lib.load(
    _config(
      module,
      arg,
      teacher__rows_per_pass=rows_per_pass,
      prompts_per_step=4,
      rollout__num_generations=4,
      epistemic=dict(words=("?",)),
    )
  )
  run = experiment.run
  batch = testing.rollout_batch(
    num_prompts=4, samples=4, prompt_length=9, length=16, vocab_size=32
  )
  right = (jnp.arange(16) % 4 < jnp.arange(16) // 4).astype(jnp.float32)
  batch = batch.replace(is_correct=right if correct else 0 * right)
  params = testing.tiny_model(
    **{
      name: getattr(run.model, name)
      for name in ("vocab_size", "num_layers", "width", "num_heads",
                   "num_kv_heads", "head_dim", "mlp_width")
    }
  )[1]  # fmt: skip
  state = testing.train_state(params, _Optimizer()).replace(
    ref_params=params, teacher_params=params
  )
  return jax.jit(_teach(experiment))(state, batch)


class _Optimizer:
  """Keeps nothing."""

  def init(self, params):
    del params
    return ()


def test_right_rows_of_larger_groups_have_a_teacher():
  rollouts, metrics = _taught()
  # Groups with 0, 1, 2 and 3 right rows of four.
  expected = [0] * 4 + [0, 1, 1, 1] + [1] * 8
  assert rollouts.has_teacher.tolist() == expected
  np.testing.assert_allclose(metrics["teacher/no_sibling_frac"], 1 / 6)
  np.testing.assert_allclose(metrics["teacher/active_row_frac"], 5 / 16)
  assert metrics["teacher/kl_s_t"] > 0
  assert "teacher/d_hat_epistemic" in metrics
  assert rollouts.teacher_support_logprobs is None


# "No correct sibling anywhere": plain GRPO, and counted.
def test_without_a_right_row_there_is_no_teacher():
  rollouts, metrics = _taught(correct=False)
  assert not np.any(rollouts.has_teacher)
  assert all(np.isfinite(x) for x in metrics.values())
  assert metrics["teacher/active_row_frac"] == 0
  right = dict(is_correct=jnp.zeros(2), group_ids=jnp.zeros(2, jnp.int32))
  found = demonstrations.first_correct_sibling(**right, valid=jnp.ones(2))
  assert found.tolist() == [-1, -1]


def test_gathering_changes_no_metric():
  _, whole = _taught()
  for rows_per_pass in (2, 8):
    _, gathered = _taught(rows_per_pass=rows_per_pass)
    for name, value in whole.items():
      np.testing.assert_allclose(
        gathered[name], value, rtol=1e-4, atol=1e-6, err_msg=name
      )


def test_candidates_are_the_students():
  rollouts, _ = _taught(module=sdpo)
  assert rollouts.support_ids.shape == (16, 16, 8)
  assert rollouts.teacher_support_logprobs.shape == (16, 16, 8)
  rollouts, _ = _taught("tiny+token", sdpo)
  assert rollouts.support_ids is None
  assert rollouts.teacher_support_logprobs is None


def test_what_a_data_set_has_to_tell():
  assert teaching.hints(experiment_lib.load(_config(grpo)).run) == ()
  run = experiment_lib.load(_config()).run
  assert teaching.hints(run) == ("gold_answer",)
  run = experiment_lib.load(_config(teacher__context="gold_solution")).run
  assert teaching.hints(run) == ("gold_answer", "gold_solution")
