"""Bad input is refused in one line: the field, the value, the remedy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import checks
from rlvr_jax import derived
from rlvr_jax import errors
from rlvr_jax import losses
from rlvr_jax import records
from rlvr_jax import token_weights
from rlvr_jax.rewards import shaping
from tests import testing

_NAN = float("nan")


def _floats(*values):
  return jnp.asarray(values, jnp.float32)


def _message(call, *arguments, **keywords):
  with pytest.raises(ValueError) as caught:
    call(*arguments, **keywords)
  message = str(caught.value)
  assert isinstance(caught.value, errors.UserError), message
  assert "\n" not in message
  return message


# ------------------------------------------------------------ by themselves


@pytest.mark.parametrize(
  "fields, message",
  [
    # Ranks.
    ({"rewards": jnp.ones((2, 1))}, "rewards has shape (2, 1): it takes [B]"),
    ({"logprobs": -jnp.ones(2)}, "logprobs has shape (2,): it takes [B, T]"),
    ({"step": jnp.ones(1)}, "step has shape (1,): it takes []"),
    # Sizes, against the first field that has the letter.
    (
      {"rewards": jnp.ones(2), "valid": jnp.ones(3)},
      "valid has shape (3,), but rewards has B = 2: give both the same number"
      " of rows",
    ),
    (
      {"logprobs": -jnp.ones((2, 3)), "old_logprobs": -jnp.ones((2, 4))},
      "old_logprobs has shape (2, 4), but logprobs has T = 3: give both the"
      " same number of tokens",
    ),
    (
      {
        "support_logprobs": -jnp.ones((2, 3, 4)),
        "teacher_support_logprobs": -jnp.ones((2, 3, 5)),
      },
      "teacher_support_logprobs has shape (2, 3, 5), but support_logprobs has"
      " K = 4: give both the same number of candidates",
    ),
    # Values.
    (
      {
        "teacher_logprobs": _floats([_NAN], [-1.0], [_NAN]),
        "has_teacher": _floats(0.0, 1.0, 1.0),
      },
      "teacher_logprobs[2, 0] is nan: mask the cell out, or mend what computed"
      " it",
    ),
    (
      {"support_logprobs": _floats([[-1.0, 0.5]])},
      "support_logprobs[0, 0, 1] is 0.5: log-probabilities are at most 0; pass"
      " neither probabilities nor logits",
    ),
    (
      {"rewards": _floats(1.0, _NAN)},
      "rewards[1] is nan: set valid to 0 on rows that could not be judged",
    ),
    (
      {"old_logprobs": _floats([-1.0, -2.0], [-1.0, 0.5])},
      "old_logprobs[1, 1] is 0.5: log-probabilities are at most 0; pass"
      " neither probabilities nor logits",
    ),
    (
      {"token_advantages": _floats([1.0, float("inf")])},
      "token_advantages[0, 1] is inf: mask the cell out, or mend what computed"
      " it",
    ),
    (
      {"frozen_entropies": _floats([-0.5])},
      "frozen_entropies[0, 0] is -0.5: entropies are at least 0 nats",
    ),
    (
      {"loss_mask": _floats([1.0, -1.0])},
      "loss_mask[0, 1] is -1.0: masks are 0 or positive",
    ),
    ({"valid": _floats(-1.0)}, "valid[0] is -1.0: masks are 0 or positive"),
    (
      {"group_ids": jnp.asarray([0, 2])},
      "group_ids[1] is 2: group numbers lie in 0 .. 1; number the prompts of"
      " the batch from 0",
    ),
    (
      {"group_ids": jnp.asarray([0, -1])},
      "group_ids[1] is -1: group numbers lie in 0 .. 1; number the prompts of"
      " the batch from 0",
    ),
  ],
)
def test_the_message_names_field_value_and_remedy(fields, message):
  assert _message(checks.arguments, **fields) == message


@pytest.mark.parametrize(
  "fields",
  [
    # Padding may hold anything.
    {
      "logprobs": _floats([-1.0, _NAN]),
      "completion_mask": _floats([1.0, 0.0]),
    },
    {"rewards": _floats(1.0, _NAN), "valid": _floats(1.0, 0.0)},
    # Rounding lifts the log-probability of a certain token above 0, and the
    # entropy of a certain distribution below it.
    {"logprobs": _floats([1e-6]), "entropies": _floats([-1e-6])},
    # A row without a teacher may hold anything in its teacher's fields.
    {
      "teacher_logprobs": _floats([-1.0, -1.0], [_NAN, -float("inf")]),
      "teacher_support_logprobs": jnp.full((2, 2, 3), _NAN).at[0].set(-1.0),
      "has_teacher": _floats(1.0, 0.0),
    },
    # So may padding, and a candidate may be one that is never given.
    {
      "support_logprobs": _floats(
        [[-1.0, -float("inf")], [_NAN, 3.0]],
      ),
      "completion_mask": _floats([1.0, 0.0]),
    },
    # Zero-sized: no rows, no complaint.
    {"rewards": jnp.zeros(0), "valid": jnp.zeros(0)},
    # A name of the user's own means what the user says.
    {"rewards": jnp.ones(2), "my_scores": _floats([_NAN, 3.0, 4.0])},
  ],
)
def test_what_is_right_passes(fields):
  checks.arguments(**fields)


def test_a_group_of_one_row_has_nothing_to_compare():
  assert _message(checks.groups, jnp.asarray([0, 1, 0])) == (
    "group_ids has a single row of group 1: give every prompt two or more"
    " completions, or take an advantage without groups"
  )
  checks.groups(jnp.asarray([0, 1, 0, 1]))


def test_every_derived_field_has_a_shape():
  assert set(derived.__all__) <= set(checks.SHAPES)


# -------------------------------------------------------------- whole batch


def _batch(**changes):
  found = {
    "rewards": _floats(1.0, 0.0),
    "group_ids": jnp.zeros(2, jnp.int32),
    "valid": jnp.ones(2),
    "completion_mask": jnp.ones((2, 3)),
    "sampler_logprobs": -jnp.ones((2, 3)),
  }
  return found | changes


def test_a_good_batch_passes_the_check_of_the_whole():
  checks.batch(_batch())


@pytest.mark.parametrize(
  "changes, start",
  [
    (
      {"completion_mask": jnp.zeros((2, 3))},
      "completion_mask is 0 everywhere: set it to 1 on generated tokens",
    ),
    (
      {"valid": jnp.zeros(2)},
      "valid is 0 on every row, so that no completion was judged: look at the"
      " outcomes that the verifier gave",
    ),
    ({"rewards": _floats(1.0, _NAN)}, "rewards[1] is nan: "),
    ({"sampler_logprobs": jnp.ones((2, 3))}, "sampler_logprobs[0, 0] is 1.0: "),
    ({"valid": jnp.ones(3)}, "valid has shape (3,), but rewards has B = 2: "),
  ],
)
def test_a_bad_batch_is_refused_before_anything_is_compiled(changes, start):
  assert _message(checks.batch, _batch(**changes)).startswith(start)


def test_the_batches_of_the_suite_pass():
  checks.batch(records.fields(testing.rollout_batch()))


# ------------------------------------------------- through public functions


def _grpo(rewards, group_ids=(0, 0), valid=(1.0, 1.0)):
  return advantages.grpo_advantages(
    rewards=jnp.asarray(rewards, jnp.float32),
    group_ids=jnp.asarray(group_ids, jnp.int32),
    valid=jnp.asarray(valid, jnp.float32),
  )


@pytest.mark.parametrize(
  "arguments, start",
  [
    (([1.0, _NAN],), "rewards[1] is nan: set valid to 0"),
    (([1.0, 0.0], (0, 2)), "group_ids[1] is 2: group numbers lie in 0 .. 1"),
    (([1.0, 0.0], (0, 1)), "group_ids has a single row of group 0: give"),
    (([1.0, 0.0, 0.0],), "group_ids has shape (2,), but rewards has B = 3"),
    (([[1.0], [0.0]],), "rewards has shape (2, 1): it takes [B]"),
    (([1.0, 0.0], (0, 0), (1.0, -1.0)), "valid[1] is -1.0: masks are 0 or"),
  ],
)
def test_advantages_look_at_their_arguments(arguments, start):
  assert _message(_grpo, *arguments).startswith(start)


def test_a_lone_row_is_refused_wherever_groups_are_compared():
  arrays = dict(
    rewards=_floats(1.0, 0.0), group_ids=jnp.arange(2), valid=jnp.ones(2)
  )
  for method in (
    advantages.dr_grpo_advantages,
    advantages.rloo_advantages,
    functools.partial(
      advantages.reinforce_pp_baseline_advantages,
      completion_mask=jnp.ones((2, 3)),
    ),
  ):
    assert _message(method, **arrays).startswith("group_ids has a single row")
  # No group is compared here.
  del arrays["group_ids"]
  advantages.reinforce_pp_advantages(**arrays, completion_mask=jnp.ones((2, 3)))


_NOISE = -jnp.ones((2, 3))
_OF_SHAPE = {
  losses.ppo_clip: ("logprobs", "old_logprobs", "token_advantages"),
  losses.gspo: (
    "logprobs", "old_logprobs", "token_advantages", "completion_mask"
  ),
  losses.cispo: ("logprobs", "old_logprobs", "token_advantages"),
  losses.clip_cov: (
    "logprobs", "old_logprobs", "token_advantages", "clip_cov_tokens"
  ),
  losses.kl_cov: (
    "logprobs", "old_logprobs", "token_advantages", "kl_cov_tokens"
  ),
  losses.reinforce: ("logprobs", "token_advantages"),
  losses.kl_k3: ("logprobs", "ref_logprobs"),
  losses.truncated_importance: ("old_logprobs", "sampler_logprobs"),
  losses.token_mean: ("token_losses", "loss_mask", "completion_mask"),
  token_weights.forking_token_mask: ("entropies", "completion_mask"),
  token_weights.hicra_weights: ("token_advantages", "planning_tokens"),
  derived.kl_cov_tokens: ("logprobs", "token_advantages", "completion_mask"),
}  # fmt: skip


def _good(name):
  is_log = name.endswith("logprobs")
  return _NOISE if is_log else jnp.ones((2, 3))


@pytest.mark.parametrize("method", _OF_SHAPE, ids=lambda m: m.__name__)
@pytest.mark.parametrize("transform", [jax.jit, lambda function: function])
def test_shapes_are_checked_eagerly_and_while_compiling(method, transform):
  names = _OF_SHAPE[method]
  call = transform(method)
  good = {name: _good(name) for name in names}
  call(**good)
  for name in names:
    for shape in ((2, 4), (3, 3), (2,), (2, 3, 1)):
      bad = good | {name: jnp.broadcast_to(_good(name)[:1, :1].sum(), shape)}
      message = _message(call, **bad)
      assert any(f"{field} has shape" in message for field in names)


def test_a_row_of_advantages_is_no_token_advantage_when_batch_is_square():
  # f32[B] times f32[B, T] with B == T would broadcast along the wrong axis.
  square = -jnp.ones((3, 3))
  for transform in (jax.jit, lambda function: function):
    message = _message(
      transform(losses.ppo_clip),
      logprobs=square,
      old_logprobs=square,
      token_advantages=jnp.ones(3),
    )
    assert message == "token_advantages has shape (3,): it takes [B, T]"


@pytest.mark.parametrize(
  "call, start",
  [
    (
      lambda: losses.ppo_clip(
        logprobs=_NOISE,
        old_logprobs=jnp.exp(_NOISE),
        token_advantages=jnp.ones((2, 3)),
      ),
      "old_logprobs[0, 0] is 0.36787",
    ),
    (
      lambda: losses.entropy_bonus(entropies=_NOISE),
      "entropies[0, 0] is -1.0: entropies are at least 0 nats",
    ),
    (
      lambda: losses.kl_k1(
        logprobs=_NOISE, ref_logprobs=_NOISE.at[1, 2].set(jnp.nan)
      ),
      "ref_logprobs[1, 2] is nan: mask the cell out",
    ),
    (
      lambda: token_weights.forking_token_mask(
        entropies=_NOISE, completion_mask=jnp.ones((2, 3))
      ),
      "entropies[0, 0] is -1.0",
    ),
    (
      lambda: advantages.signed_advantages(is_correct=_floats(1.0, _NAN)),
      "is_correct[1] is nan",
    ),
    (
      lambda: shaping.overlong_penalty(
        rewards=_floats(_NAN), completion_mask=jnp.ones((1, 3))
      ),
      "rewards[0] is nan",
    ),
  ],
)
def test_values_are_checked_eagerly(call, start):
  assert _message(call).startswith(start)


def test_values_are_not_looked_at_while_compiling():
  # One bad batch must not cost every good one a check: `checks.batch` looks
  # at them on the host, before.
  found = jax.jit(_grpo)(_floats(1.0, _NAN))
  assert np.isnan(found).all()
  assert jax.jit(_grpo)(_floats(1.0, 0.0), jnp.arange(2)).tolist() == [0.0] * 2


def test_a_mistake_in_a_keyword_is_pythons_own_error():
  with pytest.raises(TypeError, match="old_logprob"):
    losses.ppo_clip(logprobs=_NOISE, old_logprob=_NOISE)
  with pytest.raises(TypeError, match="positional"):
    losses.negative_log_likelihood(_NOISE)
