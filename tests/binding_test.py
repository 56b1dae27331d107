"""Keywords that take a field of another name, and a method's own numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import credit
from rlvr_jax import derived
from rlvr_jax import errors
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import schedules
from tests import batches

_bound = objective_lib.bound
_FIELDS = batches.fields()


def _config(**changes):
  config = {
    "sequence_loss": {
      "name": "trajectory_balance",
      "anchor_logprobs": "ref_logprobs",
    },
    "scalars": {"inv_temp": 2.0},
  }
  return config | changes


def _loss(**changes):
  """A sequence loss as a block of a config."""
  return {"sequence_loss": _config()["sequence_loss"] | changes}


def _value_and_gradients(method, fields=_FIELDS):
  live = {name: fields[name] for name in ("logprobs", "log_partition")}
  value = lambda live: credit.whole_loss(method, fields | live)[0]
  return jax.jit(jax.value_and_grad(value))(live)


# ----------------------------------------------------------- names of fields


def user_reward(*, rewards, scale=1.0):
  return scale * rewards


def weighed(*, logprobs, coef=1.0):
  """A user's function with a hyper-parameter of a term's own name."""
  return coef * logprobs


def test_a_keyword_takes_the_field_that_is_named():
  part = _bound(user_reward, rewards="is_correct", scale=3.0)
  found = part({"is_correct": jnp.ones(2), "rewards": jnp.zeros(2)})
  assert found.tolist() == [3.0, 3.0]
  assert part.field_names == ("is_correct",)
  assert part.settings == {"scale": 3.0}
  assert part.reads(["is_correct"]) and not part.reads(["rewards"])


def test_a_field_that_is_missing_is_named_as_the_field():
  part = _bound(user_reward, rewards="is_correct")
  with pytest.raises(errors.UserError) as caught:
    part({"rewards": jnp.zeros(2)})
  assert str(caught.value).startswith(
    "user_reward reads the field 'is_correct', which the batch lacks"
  )


def test_a_method_needs_the_field_and_not_the_keyword():
  needed = objective_lib.needed_fields(objective_lib.bind(_config()))
  assert "ref_logprobs" in needed
  # Neither the keyword nor the number that the method brings.
  assert not needed & {"anchor_logprobs", "inv_temp"}
  method = objective_lib.bind(_config(**_loss(anchor_logprobs="old_logprobs")))
  assert "ref_logprobs" not in objective_lib.needed_fields(method)


def test_a_derived_field_by_another_name_is_computed_first():
  names = dict(
    anchor_logprobs="zero_anchor", log_partition="noise_log_partition"
  )
  method = objective_lib.bind(
    _config(**_loss(**names), derived=tuple(names.values()))
  )
  needed = objective_lib.needed_fields(method)
  assert "prompt_normals" in needed
  assert not needed & {"zero_anchor", "noise_log_partition", "log_partition"}
  fields = credit.assign_credit(method, _FIELDS)
  expected = losses.trajectory_balance(
    log_partition=0.5 + fields["prompt_normals"],
    anchor_logprobs=jnp.zeros_like(fields["logprobs"]),
    inv_temp=jnp.asarray(2.0),
    **{
      name: fields[name]
      for name in ("logprobs", "old_logprobs", "rewards", "completion_mask")
    },
  )
  loss, gradients = _value_and_gradients(method)
  np.testing.assert_allclose(loss, jnp.mean(expected.losses), rtol=1e-6)
  assert jnp.any(gradients["logprobs"])
  assert not jnp.any(gradients["log_partition"])


def _group_mean(**changes):
  config = _loss(log_partition="vargrad_log_z")
  anchor = {"anchor_logprobs": "ref_logprobs"}
  return objective_lib.bind(
    _config(
      **config, derived=("vargrad_log_z",), vargrad_log_z=anchor | changes
    )
  )


def test_what_a_derived_field_waits_for_goes_by_the_field_that_it_takes():
  live, frozen = _group_mean(), _group_mean(logprobs="old_logprobs")
  assert credit.is_refined(live)
  assert not credit.needs_old_logprobs(live)
  assert not credit.is_refined(frozen)
  assert credit.needs_old_logprobs(frozen)
  assert "vargrad_log_z" not in credit.assign_credit(live, _FIELDS)
  assert "vargrad_log_z" in credit.assign_credit(frozen, _FIELDS)
  # Where the policy has not moved they are one.
  there = batches.fields(moved=False)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
  both = [_value_and_gradients(m, there) for m in (live, frozen)]
  jax.tree.map(close, *both)
  with pytest.raises(AssertionError):
    jax.tree.map(close, *(_value_and_gradients(m) for m in (live, frozen)))


def test_as_a_term_on_the_old_policy_it_fits_the_log_partition_alone():
  plain = objective_lib.Objective(
    advantage=_bound(advantages.grpo_advantages),
    token_loss=_bound(losses.ppo_clip),
    scalars={"inv_temp": schedules.Schedule(2.0)},
  )
  fitted = plain._replace(
    regularizers=(
      _bound(
        losses.trajectory_balance,
        coef=0.5,
        logprobs="old_logprobs",
        anchor_logprobs="old_logprobs",
      ),
    )
  )
  expected = _value_and_gradients(plain)[1]
  found = _value_and_gradients(fitted)[1]
  np.testing.assert_array_equal(found["logprobs"], expected["logprobs"])
  missed = _FIELDS["log_partition"] - 2.0 * _FIELDS["rewards"]
  np.testing.assert_allclose(
    found["log_partition"], 0.5 * 2.0 * missed / len(missed), rtol=1e-5
  )


@pytest.mark.parametrize(
  "changes, message",
  [
    (
      _loss(anchor_logprobs=0.0),
      "trajectory_balance: anchor_logprobs is 0.0, but it takes a field of the"
      " batch: give the field's name; a number of the method's own goes into",
    ),
    (
      _loss(inv_temp=20.0),
      "trajectory_balance: inv_temp is 20.0, but it takes a field of the batch",
    ),
    (
      _loss(anchor_logprobs="ref_logprob"),
      "the objective names the field 'ref_logprob', which no run fills: did you"
      " mean 'ref_logprobs'?",
    ),
    (
      _loss(anchor_logprobs="anchor_logprobs"),
      "the objective names the field 'anchor_logprobs', which no run fills",
    ),
    (
      _loss(log_partition="vargrad_log_z"),
      "the objective names the field 'vargrad_log_z', which no run fills",
    ),
    (
      {"regularizers": (f"{__name__}:weighed",)},
      "weighed has a hyper-parameter 'coef', which is a term's own: give it",
    ),
  ],
)
def test_mistakes_in_names_are_refused(changes, message):
  with pytest.raises(errors.UserError) as caught:
    objective_lib.bind(_config(**changes))
  assert str(caught.value).startswith(message)
  assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ numbers


def test_a_method_brings_its_numbers():
  method = objective_lib.bind(_config(scalars={"inv_temp": 20}))
  assert method.scalars == {"inv_temp": schedules.Schedule(20.0)}
  fields = credit.assign_credit(method, _FIELDS)
  found = fields["inv_temp"]
  assert (found, found.dtype, found.shape) == (20.0, "float32", ())


@pytest.mark.parametrize("shape, halfway", [("linear", 2.5), ("harmonic", 1.6)])
def test_a_number_by_step(shape, halfway):
  block = dict(start=1.0, stop=4.0, num_steps=10, shape=shape)
  method = objective_lib.bind(_config(scalars={"inv_temp": block}))
  of = lambda step: credit.scalars(method, step)["inv_temp"]
  found = jax.jit(jax.vmap(of))(jnp.array([0, 5, 10, 99]))
  np.testing.assert_allclose(found, [1.0, halfway, 4.0, 4.0], rtol=1e-6)
  # The loss is that of the step's own number.
  of = lambda method, step: _value_and_gradients(
    method, _FIELDS | {"step": jnp.asarray(step, jnp.int32)}
  )[0]
  fixed = objective_lib.bind(_config(scalars={"inv_temp": halfway}))
  np.testing.assert_allclose(of(method, 5), of(fixed, 0), rtol=1e-5)


@pytest.mark.parametrize(
  "number, message",
  [
    (-20.0, "config.scalars.inv_temp is -20.0: it multiplies rewards (kappa: "),
    (0.0, "config.scalars.inv_temp is 0.0: it multiplies rewards (kappa: "),
    (
      dict(start=1.0, stop=-1.0, num_steps=5),
      "config.scalars.inv_temp is -1.0: it multiplies rewards (kappa: ",
    ),
    (
      dict(start=1.0, end=2.0),
      "config.scalars.inv_temp has no key 'end': choose one of num_steps,",
    ),
    (
      dict(start="20"),
      "config.scalars.inv_temp.start is '20', a str: it takes a float",
    ),
    (dict(stop=1.0), "config.scalars.inv_temp.start is missing: set it"),
  ],
)
def test_mistakes_in_numbers_are_refused_by_path(number, message):
  with pytest.raises(errors.UserError) as caught:
    objective_lib.bind(_config(scalars={"inv_temp": number}))
  assert str(caught.value).startswith(message)
  assert "\n" not in str(caught.value)


def test_a_number_that_is_missing_comes_with_its_remedy():
  with pytest.raises(errors.UserError) as caught:
    objective_lib.bind(_config(scalars={"inv_tmp": 2.0}))
  message = str(caught.value)
  assert message.startswith("the objective names the field 'inv_temp'")
  assert message.endswith("or set a number config.scalars.inv_temp")


def test_a_notebooks_objective_takes_the_same_names():
  method = objective_lib.Objective(
    sequence_loss=_bound(
      losses.trajectory_balance,
      anchor_logprobs="ref_logprobs",
      log_partition="zero_log_partition",
    ),
    derived=(_bound(derived.zero_log_partition),),
    scalars={"inv_temp": schedules.Schedule(2.0)},
  )
  named = objective_lib.bind(
    _config(
      **_loss(log_partition="zero_log_partition"),
      derived=("zero_log_partition",),
    )
  )
  both = [_value_and_gradients(m) for m in (method, named)]
  jax.tree.map(np.testing.assert_array_equal, *both)


def test_what_a_loss_tells_beside_its_value():
  method = objective_lib.bind(_config())
  fields = credit.refine_credit(method, credit.assign_credit(method, _FIELDS))
  counts = credit.counts(method, fields)
  _, means, told = credit.loss_and_terms(method, fields, counts)
  assert set(told) == {"residuals", "raw_weights", "weights"}
  assert all(value.shape == fields["valid"].shape for value in told.values())
  # Without weights the loss is the residuals' square.
  np.testing.assert_allclose(
    means["policy"].value(), jnp.mean(told["residuals"] ** 2), rtol=1e-6
  )
