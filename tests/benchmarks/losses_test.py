"""Methods on one file of rollouts: what is equal is, the rest is told."""

import functools
import json

import jax
from jax import flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import frozen_rollouts
from benchmarks import losses
from benchmarks import method_gradients
from rlvr_jax import errors
from rlvr_jax import losses as losses_lib
from rlvr_jax import objective as objective_lib
from rlvr_jax import update
from rlvr_jax.models import huggingface
from rlvr_jax.rollouts import files as rollout_files
from rlvr_jax.weights import folders
from tests import batches
from tests import testing

_MODEL = testing.tiny_model(num_layers=1)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
  """Rollouts without any log-probabilities, beside their model."""
  folder = tmp_path_factory.mktemp("policy") / "model"
  config, params = testing.tiny_config(num_layers=1), _MODEL[1]
  folders.write(
    folder,
    params,
    config,
    config_json=huggingface.config_json(config),
    dtype="float32",
  )
  batch = testing.rollout_batch(num_prompts=2, length=4)
  batch = batch.replace(
    sampler_logprobs=None,
    log_kept_mass=None,
    frozen_entropies=None,
    frozen_mean_logprobs=None,
    # The last row only fills the shape.
    valid=batch.valid.at[-1].set(0.0),
  )
  rollout_files.write(folder / "rollouts.npz", batch)
  return folder / "rollouts.npz"


@pytest.fixture(scope="module")
def frozen(file):
  return frozen_rollouts.opened(file, file.parent)


@pytest.fixture(scope="module")
def compiled(frozen):
  cispo = batches.GRPO._replace(
    token_loss=objective_lib.bound(losses_lib.cispo)
  )
  methods = {"grpo": batches.GRPO, "cispo": cispo}
  return method_gradients.programs(methods, frozen)


def test_what_the_file_lacks_is_scored_and_told(file, frozen):
  assert frozen.scored == (
    "sampler_logprobs",
    "frozen_entropies",
    "frozen_mean_logprobs",
    "old_logprobs",
  )
  model, params = _MODEL
  scores = testing.score(
    model,
    params,
    frozen.rollouts.prompts,
    frozen.rollouts.completion_tokens,
  )
  np.testing.assert_allclose(
    frozen.rollouts.old_logprobs, scores.logprobs, atol=1e-6
  )
  batch, _ = rollout_files.read(file)
  own = file.with_name("own.npz")
  rollout_files.write(own, batch.replace(old_logprobs=-np.ones((4, 4))))
  again = frozen_rollouts.opened(own, file.parent)
  assert "old_logprobs" not in again.scored
  np.testing.assert_array_equal(again.on_policy.old_logprobs, -1.0)
  assert frozen.on_policy.old_logprobs is None


def test_the_model_of_other_rollouts_is_refused(tmp_path, file):
  batch, _ = rollout_files.read(file)
  tokens = np.array(batch.completion_tokens)
  tokens[0, 0] = 11
  rollout_files.write(
    tmp_path / "a.npz", batch.replace(completion_tokens=tokens)
  )
  with pytest.raises(errors.UserError, match="token 11, .* knows 11 tokens"):
    frozen_rollouts.opened(tmp_path / "a.npz", file.parent)
  rollout_files.write(tmp_path / "b.npz", batch.replace(rewards=None))
  with pytest.raises(errors.UserError, match="no rewards"):
    frozen_rollouts.opened(tmp_path / "b.npz", file.parent)


@pytest.mark.slow
def test_a_program_of_three_methods(file, capsys, monkeypatch, tmp_path):
  out, png = tmp_path / "losses.json", tmp_path / "cosines.png"
  given = [
    f"--rollouts={file}",
    "--methods=rloo,dr_grpo,rlrt+all,flowrl",
    "--rounds=1",
    "--off_policy_steps=2",
    "--learning_rate=0.05",
    f"--json={out}",
    f"--png={png}",
  ]
  monkeypatch.setattr("sys.argv", ["losses", *given])
  # As in the program itself: optax's Adam mixes its types.
  with jax.numpy_dtype_promotion("standard"):
    losses.main()
  text = capsys.readouterr().out
  assert "has no sampler_logprobs, frozen_entropies," in text
  assert "left out: rlrt+all (no has_teacher, teacher_logprobs: write a" in text
  assert "left out: flowrl (no log_partition, ref_logprobs: " in text
  (record,) = json.loads(out.read_text())
  # RLOO has a term that reads the reference.
  assert record["left_out"].keys() == {"rloo", "rlrt+all", "flowrl"}
  assert record["rows"] == 3
  on, off = record["on_policy"], record["off_policy"]
  assert list(on["methods"]) == list(off["methods"]) == ["grpo", "dr_grpo"]
  np.testing.assert_allclose(np.diag(on["cosines"]), 1.0)
  assert on["methods"]["grpo"]["weight_correlation"] == pytest.approx(1.0)
  # No clip binds where the policy has not moved; after large steps one does.
  assert on["methods"]["grpo"]["clipped_frac"] == 0.0
  assert on["methods"]["grpo"]["ratio_high_frac"] == 0.0
  assert off["methods"]["grpo"]["clipped_frac"] > 0.0
  assert off["methods"]["grpo"]["ratio_high_frac"] > 0.0
  assert png.stat().st_size > 1000


def test_methods_that_are_equal_on_policy_have_the_same_gradient(
  frozen, compiled
):
  """At ratio 1 CISPO's weight is 1: the gradient of GRPO's surrogate."""
  figures, cosines = method_gradients.compare(
    compiled, frozen.params, frozen.on_policy, rounds=1
  )
  np.testing.assert_allclose(cosines, np.ones((2, 2)), atol=1e-5)
  assert figures["cispo"]["weight_correlation"] == pytest.approx(1.0, abs=1e-5)
  for name in ("gradient_norm", "weighted_frac", "clipped_frac"):
    assert figures["cispo"][name] == pytest.approx(
      figures["grpo"][name], rel=1e-4
    )


def test_the_gradient_is_that_of_training_and_weights_are_its_chain(
  frozen, compiled
):
  params, rollouts = frozen.params, frozen.on_policy
  optimizer = optax.sgd(1.0)
  step = jax.jit(
    functools.partial(
      update.train_step,
      model=frozen.model,
      method=batches.GRPO,
      optimizer=optimizer,
      config=update.UpdateConfig(),
    )
  )
  state, metrics = step(testing.train_state(params, optimizer), rollouts)
  taken = jax.tree.map(lambda old, new: old - new, params, state.params)
  expected, _ = flatten_util.ravel_pytree(taken)
  measured = method_gradients.measure(compiled["grpo"], params, rollouts)
  np.testing.assert_allclose(measured.gradient, expected, atol=1e-6)
  np.testing.assert_allclose(
    measured.figures["gradient_norm"], metrics["policy/grad_norm"], rtol=1e-5
  )
  weights = jnp.asarray(measured.weights)
  # Rows that only fill the shape and padding have none.
  inside = rollouts.completion_mask * rollouts.valid[:, None]
  assert np.all(measured.weights[np.asarray(inside) == 0] == 0)

  def weighted(params):
    scores = testing.score(
      frozen.model, params, rollouts.prompts, rollouts.completion_tokens
    )
    return -jnp.sum(weights * scores.logprobs)

  chained, _ = flatten_util.ravel_pytree(jax.jit(jax.grad(weighted))(params))
  np.testing.assert_allclose(measured.gradient, chained, atol=1e-6)


def test_a_row_that_only_fills_the_shape_needs_no_token(frozen, compiled):
  rollouts = frozen.on_policy
  mask = rollouts.completion_mask.at[-1].set(0.0)
  empty = rollouts.replace(completion_mask=mask)
  measure = functools.partial(
    method_gradients.measure, compiled["grpo"], frozen.params
  )
  np.testing.assert_allclose(
    measure(empty).gradient, measure(rollouts).gradient, atol=1e-6
  )


def test_a_gradient_of_zero_has_no_cosine():
  found = method_gradients.cosines([np.ones(2), np.zeros(2), -np.ones(2)])
  assert found[0][1] is None and found[1][1] is None
  assert found[0][2] == pytest.approx(-1.0)


def test_names_of_methods():
  found = method_gradients.methods(["rlrt+all", "grpo"])
  assert list(found) == ["grpo", "rlrt+all"]
  assert len(method_gradients.methods([])) > 20
  with pytest.raises(errors.UserError, match="did you mean 'dr_grpo'"):
    method_gradients.methods(["drgrpo"])
  with pytest.raises(errors.UserError, match=r"'grpo\+x': variant 'tiny\+x'"):
    method_gradients.methods(["grpo+x"])
  with pytest.raises(SystemExit):
    losses.arguments().parse_args(["--rollouts=a", "--make=b"])


def test_every_method_says_what_it_lacks(frozen):
  """A file with all columns of --make leaves out the heads alone."""
  shape = frozen.rollouts.completion_mask.shape
  full = frozen.rollouts.replace(
    ref_logprobs=jnp.zeros(shape),
    teacher_logprobs=jnp.zeros(shape),
    teacher_entropies=jnp.zeros(shape),
    has_teacher=jnp.ones(shape[0]),
    teacher_support_logprobs=jnp.zeros((*shape, 11)),
  )
  found = {
    name: method_gradients.lacking(method, full)
    for name, method in method_gradients.methods([]).items()
  }
  left_out = {name: reason for name, reason in found.items() if reason}
  assert left_out.keys() == {"flowrl", "paced_rl", "paced_controls"}
  assert set(left_out.values()) == {
    "no log_partition: it is learned by a head that only a run has"
  }


@pytest.mark.slow
def test_a_file_is_made(tmp_path):
  path = tmp_path / "run" / "rollouts.npz"
  frozen_rollouts.make(path, num_steps=1)
  found = frozen_rollouts.opened(path, path.parent)
  # The sampler's own log-probabilities are those of the policy.
  gap = found.rollouts.sampler_logprobs - found.rollouts.old_logprobs
  inside = found.rollouts.completion_mask > 0
  assert np.max(np.abs(np.asarray(gap))[inside]) < 1e-4
  assert found.rollouts.teacher_support_logprobs.shape[-1] == 32
  assert found.scored == ("old_logprobs",)
