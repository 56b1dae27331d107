"""Every experiment file loads, binds, has no unread key, and traces."""

import importlib
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import pytest

from experiments import common
from rlvr_jax import errors
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import optimizers
from rlvr_jax import update
from rlvr_jax.models import transformer
from tests import testing

_FILES = sorted(
  path
  for path in pathlib.Path("experiments").glob("*.py")
  if path.stem not in ("__init__", "common")
)
_STEMS = [path.stem for path in _FILES]


def _config(stem="grpo", arg="tiny") -> ml_collections.ConfigDict:
  return importlib.import_module(f"experiments.{stem}").get_config(arg)


def _load(**overrides):
  config = _config()
  config.update_from_flattened_dict(
    {name.replace("__", "."): value for name, value in overrides.items()}
  )
  return experiment_lib.load(config.to_dict())


@pytest.mark.parametrize("arg", common.TASKS)
@pytest.mark.parametrize("stem", _STEMS)
def test_every_file_loads_and_binds(stem, arg):
  experiment = experiment_lib.load(_config(stem, arg).to_dict())
  assert experiment.run.num_steps > 0


@pytest.mark.parametrize("stem", _STEMS)
def test_every_update_traces(stem):
  run, method = experiment_lib.load(_config(stem).to_dict())
  optimizer = optimizers.make_optimizer(run.optimizer)
  model = transformer.Transformer(run.model)

  def step():
    params = transformer.init_params(run.model, jax.random.key(0))
    state = testing.train_state(params, optimizer)
    batch = testing.rollout_batch(
      num_prompts=run.prompts_per_step,
      samples=run.rollout.num_generations,
      prompt_length=run.data.prompt_tokens,
      length=run.rollout.completion_tokens,
    )
    return update.train_step(
      state,
      batch,
      model=model,
      method=method,
      optimizer=optimizer,
      config=run.update,
    )

  # Optax mixes integers and floats inside Adam.
  with jax.numpy_dtype_promotion("standard"):
    state, metrics = jax.eval_shape(step)
  assert metrics["policy/loss"].shape == ()
  assert state.step.dtype == jnp.int32


@pytest.mark.parametrize("stem", _STEMS)
def test_every_file_says_what_it_is(stem):
  doc = importlib.import_module(f"experiments.{stem}").__doc__
  assert "https://arxiv.org/abs/" in doc
  assert f"--config=experiments/{stem}.py" in doc


@pytest.mark.parametrize("path", _FILES, ids=_STEMS)
def test_every_file_is_short_and_imports_no_library_code(path):
  text = path.read_text()
  assert len(text.splitlines()) <= 100
  assert "rlvr_jax import" not in text


def test_an_unknown_variant_lists_the_known():
  with pytest.raises(ValueError, match="'huge': choose one of tiny, chain"):
    _config(arg="huge")


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
      dict(update__num_minibatches=5),
      "config.update.num_minibatches is 5, which does not divide",
    ),
    (
      dict(update__num_micro_batches=7),
      "config.update.num_micro_batches is 7, which does not split",
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
  assert str(caught.value).startswith(message)
  assert "\n" not in str(caught.value)


def test_a_missing_block_is_refused():
  config = _config().to_dict()
  del config["rollout"]
  with pytest.raises(errors.UserError, match="config.rollout is missing"):
    experiment_lib.load(config)
