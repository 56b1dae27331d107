"""Every experiment file loads, binds, has no unread key, and traces."""

import dataclasses
import functools
import importlib
import itertools
import json
import pathlib
import re

import jax
import jax.numpy as jnp
import ml_collections
import pytest

from experiments import common
from rlvr_jax import curriculum as curriculum_lib
from rlvr_jax import errors
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import optimizers
from rlvr_jax import state as state_lib
from rlvr_jax import teaching
from rlvr_jax import update
from rlvr_jax.data import tasks
from rlvr_jax.data import vocabulary
from rlvr_jax.models import huggingface
from rlvr_jax.models import transformer
from rlvr_jax.weights import pretrained
from tests import testing

_FILES = sorted(
  path
  for path in pathlib.Path("experiments").glob("*.py")
  if path.stem not in ("__init__", "common")
)
_STEMS = [path.stem for path in _FILES]
# Traced on every change; the others take three seconds each, in the slow set.
_QUICK = ("dapo", "forking_tokens", "grpo", "opsd", "paced_rl", "rlrt", "srpo")


def _module(stem: str):
  return importlib.import_module(f"experiments.{stem}")


def _models(stem: str) -> tuple[str, ...]:
  return getattr(_module(stem), "MODELS", ())


_OF_TASKS = [(stem, arg) for stem in _STEMS for arg in common.TASKS]
_OF_MODELS = [(stem, arg) for stem in _STEMS for arg in _models(stem)]


def _config(stem="grpo", arg="tiny") -> ml_collections.ConfigDict:
  return _module(stem).get_config(arg)


def _load(**overrides):
  config = _config()
  config.update_from_flattened_dict(
    {name.replace("__", "."): value for name, value in overrides.items()}
  )
  return experiment_lib.load(config.to_dict())


@pytest.mark.parametrize("stem, arg", _OF_TASKS + _OF_MODELS)
def test_every_variant_loads_and_binds(stem, arg):
  experiment = experiment_lib.load(_config(stem, arg).to_dict())
  assert experiment.run.num_steps > 0


@pytest.mark.parametrize("stem, arg", _OF_MODELS)
def test_every_run_of_a_paper_is_described_whole(stem, arg):
  run = experiment_lib.load(_config(stem, arg).to_dict()).run
  everyday = experiment_lib.load(_config("grpo").to_dict()).run
  params = jax.eval_shape(
    lambda: transformer.init_params(run.model, jax.random.key(0))
  )
  assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
  assert run.model.dtype == "bfloat16"
  assert run.warm_start.num_steps == 0
  # What every file has to set anew, or the run would be the tasks' by chance.
  assert run.data.name != everyday.data.name
  if stem != "sdpo":  # whose own batch is as large
    assert run.prompts_per_step != everyday.prompts_per_step
  assert run.rollout.completion_tokens > everyday.rollout.completion_tokens
  assert run.optimizer.learning_rate < everyday.optimizer.learning_rate


def test_every_model_belongs_to_a_file():
  assert {arg for _, arg in _OF_MODELS} == common.MODELS.keys()


def test_a_run_without_its_data_set_ends_before_its_model_is_made():
  data = experiment_lib.load(_config("dapo", "qwen2p5_32b").to_dict()).run.data
  with pytest.raises(errors.UserError, match="'dapo_math_17k'") as caught:
    tasks.load_task(data, 20_480, pathlib.Path("unused"))
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  "stem",
  [
    stem if stem in _QUICK else pytest.param(stem, marks=pytest.mark.slow)
    for stem in _STEMS
  ],
)
def test_every_update_traces(stem):
  experiment = experiment_lib.load(_config(stem).to_dict())
  run, method, _ = experiment
  model = transformer.Transformer(run.model)
  curriculum = experiment_lib.make_curriculum(experiment)

  def step():
    params = transformer.init_params(run.model, jax.random.key(0))
    state = state_lib.new_state(experiment, params, 100)
    batch = testing.rollout_batch(
      num_prompts=run.prompts_per_step,
      samples=run.rollout.num_generations,
      prompt_length=run.data.prompt_tokens,
      length=run.rollout.completion_tokens,
    )
    split = testing.prompt_batch(100, run.data.prompt_tokens)
    hint = (jnp.ones((100, 3), jnp.int32), jnp.ones((100, 3)))
    split = split.replace(
      embeddings=jnp.ones((100, run.model.width)),
      hints=dict.fromkeys(teaching.hints(run), hint) or None,
    )
    plan, replay, _ = curriculum_lib.plan(
      state, split, None, 0, curriculum=curriculum
    )
    batch = batch.replace(prompts=plan.prompts)
    if run.teacher:
      batch = teaching.make_teach(
        run, method, model, vocabulary.ARITHMETIC, lambda rows: rows
      )(state, batch)[0]
    return update.train_step(
      state.replace(replay=replay),
      batch,
      plan.replayed,
      model=model,
      method=method,
      optimizer=optimizers.make_optimizer(run.optimizer),
      config=run.updates,
      head=curriculum.head,
      observe=functools.partial(curriculum_lib.observe, replay=run.replay),
    )

  # Optax mixes integers and floats inside Adam.
  with jax.numpy_dtype_promotion("standard"):
    state, metrics = jax.eval_shape(step)
  assert metrics["policy/loss"].shape == ()
  assert state.step.dtype == jnp.int32


@pytest.mark.parametrize("stem", _STEMS)
def test_every_file_says_what_it_is(stem):
  doc = _module(stem).__doc__
  assert "https://arxiv.org/abs/" in doc
  assert f"--config=experiments/{stem}.py:tiny" in doc


@pytest.mark.parametrize("path", _FILES, ids=_STEMS)
def test_every_number_says_where_it_is_from(path):
  lines = path.read_text().splitlines()
  for above, line in itertools.pairwise(lines):
    if re.search(r"^  .*=[ (]*-?\d", line):
      assert "  # " in line or above.lstrip().startswith("# "), line


@pytest.mark.parametrize("stem", ["empg", "hicra"])
def test_token_ids_are_those_of_their_symbols(stem):
  config = _config(stem)
  encode = vocabulary.ARITHMETIC.encode
  if stem == "empg":
    assert config.segment_ids.separator_ids == encode(",")
  else:
    assert config.planning_tokens.phrases == (encode(","), encode("#"))


@pytest.mark.parametrize("path", _FILES, ids=_STEMS)
def test_every_file_is_short_and_imports_no_library_code(path):
  text = path.read_text()
  assert len(text.splitlines()) <= 100
  assert "rlvr_jax import" not in text


@pytest.mark.parametrize("stem", _STEMS)
def test_an_unknown_variant_lists_the_known(stem):
  known = ", ".join((*common.TASKS, common.CHECKPOINT, *_models(stem)))
  with pytest.raises(ValueError, match=f"'huge': choose one of {known}$"):
    _config(stem, "huge")
  unused = [name for name in common.MODELS if name not in _models(stem)]
  with pytest.raises(ValueError, match=f"{unused[0]!r}: choose one of"):
    _config(stem, unused[0])


@pytest.mark.parametrize("stem", _STEMS)
def test_every_method_takes_a_checkpoint_of_any_shape(stem, tmp_path):
  shape = testing.tiny_config(vocab_size=128, scan_layers=True)
  content = json.dumps(huggingface.config_json(shape))
  (tmp_path / "config.json").write_text(content)
  config = _config(stem, common.CHECKPOINT)
  with pytest.raises(errors.UserError, match="pretrained.folder is empty"):
    experiment_lib.load(config.to_dict())
  config.pretrained.folder = str(tmp_path)
  run = experiment_lib.load(config.to_dict()).run
  assert huggingface.same_model(run.model, shape)
  assert (run.model.dtype, run.model.remat) == ("bfloat16", "full")
  pretrained.check(run.pretrained, run.model)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
  shape = testing.tiny_config(vocab_size=64)
  content = json.dumps(huggingface.config_json(shape))
  (tmp_path / "config.json").write_text(content)
  config = pretrained.PretrainedConfig(str(tmp_path))
  wider = dataclasses.replace(shape, mlp_width=32)
  with pytest.raises(errors.UserError, match="config.model.mlp_width is 32"):
    pretrained.check(config, wider)


def test_a_key_that_nothing_reads_is_refused():
  config = _config().to_dict() | {"ppo_clip": {"clip_low": 0.1}}
  with pytest.raises(errors.UserError, match="config.ppo_clip is read by noth"):
    experiment_lib.load(config)


@pytest.mark.parametrize(
  "overrides, message",
  [
    (dict(num_steps=0), "config.num_steps is 0: set it to 1 or more"),
    (dict(seed=-1), "config.seed is -1: set it to 0 or more"),
    (
      dict(rollout__num_generations=1),
      "config.rollout.num_generations is 1, but grpo_advantages compares",
    ),
    (
      dict(rollout__temperature=0.0),
      "config.rollout.temperature is 0.0: training needs",
    ),
    (
      dict(mesh__data=3),
      "config.prompts_per_step is 32, which the 3 row shards",
    ),
    (
      dict(mesh__tensor=3),
      "config.model.num_heads is 4, which config.mesh.tensor",
    ),
    (
      dict(updates__num_minibatches=5),
      "config.updates.num_minibatches is 5, which does not divide",
    ),
    (
      dict(updates__num_micro_batches=7),
      "config.updates.num_micro_batches is 7, which does not split",
    ),
    (
      dict(evaluation__batch_prompts=0),
      "config.evaluation.batch_prompts is 0: set it to 1 or more",
    ),
    (
      dict(warm_start__batch_size=31, mesh__data=2),
      "config.warm_start.batch_size is 31, which the 2 row shards",
    ),
    (
      dict(token_loss__name="ppo_klip"),
      "config.token_loss.name is 'ppo_klip': did you mean 'ppo_clip'",
    ),
  ],
)
def test_settings_that_cannot_work_are_refused(overrides, message):
  with pytest.raises(errors.UserError) as caught:
    _load(**overrides)
  # A mesh of three does not divide several things.
  assert caught.value.args[0].startswith(message)
  assert not any("\n" in problem for problem in caught.value.args)


def test_a_missing_block_is_refused():
  config = _config().to_dict()
  del config["rollout"]
  with pytest.raises(errors.UserError, match="config.rollout is missing"):
    experiment_lib.load(config)
