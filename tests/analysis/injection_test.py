"""Prefixes of failed responses, and the table of what came of them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from rlvr_jax import errors
from rlvr_jax import rewards
from rlvr_jax.analysis import injection
from rlvr_jax.rollouts import sampler
from tests import testing

_PHRASES = ((7, 8), (9,))


def _rollouts(**changes):
  """Two prompts of two samples; the second sample of each is wrong."""
  batch = testing.rollout_batch(
    num_prompts=2, samples=2, prompt_length=4, length=10, seed=3
  )
  answers = {"target": jnp.asarray([[11], [22]])}
  return batch.replace(
    prompts=batch.prompts.replace(answers=answers), **changes
  )


def _inject(rollouts, **changes):
  options = dict(phrases=_PHRASES, length=20, pad_id=testing.PAD)
  return injection.inject(rollouts, **options | changes)


def _real(tokens, mask, row):
  return np.asarray(tokens)[row][np.asarray(mask)[row] > 0].tolist()


def test_prefixes_are_prompt_kept_tokens_and_phrase():
  rollouts = _rollouts()
  found = _inject(rollouts)
  grid = list(itertools.product((1, 3), injection.FRACTIONS, range(3)))
  assert found.phrase_ids == ((), (7, 8), (9,))
  assert found.prompts.prompt_tokens.shape == (len(grid), 20)
  for i, (row, fraction, phrase) in enumerate(grid):
    assert found.rows[i] == row
    assert found.fractions[i] == fraction
    assert found.phrases[i] == phrase
    prompt = _real(
      rollouts.prompts.prompt_tokens, rollouts.prompts.prompt_mask, row // 2
    )
    response = _real(rollouts.completion_tokens, rollouts.completion_mask, row)
    kept = response[: int(fraction * len(response))]
    added = list(found.phrase_ids[phrase])
    assert found.num_given[i] == len(kept) + len(added)
    expected = prompt + kept + added
    mask = found.prompts.prompt_mask[i]
    assert _real(found.prompts.prompt_tokens, [mask] * (i + 1), i) == expected
    # Padded left, without a hole.
    assert mask[-len(expected) :].all() and mask.sum() == len(expected)
    assert found.prompts.answers["target"][i] == [11, 22][row // 2]
  np.testing.assert_array_equal(found.prompts.prompt_ids, range(len(grid)))


def test_a_share_of_a_hundred_tokens_is_exact():
  batch = testing.rollout_batch(num_prompts=1, samples=1, length=100)
  batch = batch.replace(
    completion_mask=jnp.ones((1, 100)), is_correct=jnp.zeros(1)
  )
  found = _inject(batch, fractions=(0.07, 0.29, 0.57, 0.999), length=120)
  np.testing.assert_array_equal(found.num_given[::3], [7, 29, 57, 99])


def test_only_what_was_judged_wrong_is_taken():
  found = _inject(_rollouts(valid=jnp.asarray([1.0, 1.0, 1.0, 0.0])))
  assert set(found.rows) == {1}
  found = _inject(_rollouts(is_correct=jnp.zeros(4)), num_rows=3)
  assert set(found.rows) == {0, 1, 2}


def test_the_control_and_a_repeated_phrase_come_once():
  found = _inject(_rollouts(), phrases=((), (9,), (9,)), fractions=(0.5, 0.5))
  assert found.phrase_ids == ((), (9,))
  assert len(found.rows) == 2 * 2


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"length": 5}, r"length is 5, .* takes \d+ tokens: set it to \d+ or more"),
    ({"fractions": (0.5, 1.0)}, "fractions is"),
    ({"fractions": ()}, "fractions is"),
    ({"num_rows": 0}, "num_rows is 0"),
  ],
)
def test_what_cannot_be_injected_is_refused(changes, message):
  with pytest.raises(errors.UserError, match=message):
    _inject(_rollouts(), **changes)


def test_without_failures_there_is_nothing_to_inject():
  with pytest.raises(errors.UserError, match="none of which failed"):
    _inject(_rollouts(is_correct=jnp.ones(4)))


def test_the_length_that_is_asked_for_suffices():
  with pytest.raises(errors.UserError) as caught:
    _inject(_rollouts(), length=5)
  least = int(str(caught.value).split()[-3])
  assert _inject(_rollouts(), length=least).prompts.prompt_mask[:, 0].any()
  with pytest.raises(errors.UserError):
    _inject(_rollouts(), length=least - 1)


@pytest.mark.slow
def test_the_sampler_goes_on_and_a_verifier_reads_the_whole():
  found = _inject(_rollouts(), fractions=(0.5,))
  model, params = testing.tiny_model()
  continued = sampler.generate(
    model,
    params,
    found.prompts,
    jax.random.key(0),
    config=sampler.SamplerConfig(num_generations=2, completion_tokens=3),
    stop_ids=(testing.EOS,),
    pad_id=testing.PAD,
  )
  whole = injection.whole_responses(found, continued, pad_id=testing.PAD)
  for row in range(len(found.rows) * 2):
    source = row // 2
    given = found.prompts.prompt_tokens[source][-found.num_given[source] :]
    sampled = _real(continued.completion_tokens, continued.completion_mask, row)
    assert _real(whole.completion_tokens, whole.completion_mask, row) == [
      *given, *sampled,
    ]  # fmt: skip
  assert whole.sampler_logprobs is None
  # A verifier sees the answers of the prompt that the row came from.
  verify = lambda *, completion_tokens, target: (target[:, 0] != 11).astype(
    jnp.int32
  )
  judged = rewards.judge(whole, verify)
  expected = np.repeat(found.rows // 2 == 0, 2)
  np.testing.assert_array_equal(judged.is_correct, expected)
  table = injection.recovery_table(found, judged.is_correct, judged.valid)
  assert [(x.phrase, x.rate) for x in table] == [
    ((), 0.5), ((7, 8), 0.5), ((9,), 0.5),
  ]  # fmt: skip


def _grid():
  """Two failed rows, two fractions, the control and one phrase."""
  found = _inject(_rollouts(), phrases=((9,),), fractions=(0.5, 0.8))
  #        row 1: .5, .5+9, .8, .8+9; then row 3
  verdicts = [[1, 0], [1, 1], [0, 0], [1, 0], [0, 0], [1, 0], [0, 0], [1, 1]]
  return found, np.asarray(verdicts, np.float32).reshape(-1)


def test_the_table_by_hand():
  found, verdicts = _grid()
  table = injection.recovery_table(found, verdicts)
  assert [(x.fraction, x.phrase) for x in table] == [
    (0.5, ()), (0.5, (9,)), (0.8, ()), (0.8, (9,)),
  ]  # fmt: skip
  np.testing.assert_allclose([x.rate for x in table], [0.25, 0.75, 0.0, 0.75])
  np.testing.assert_allclose([x.gain for x in table], [0.0, 0.5, 0.0, 0.75])
  # Gains of the rows: 1/2 and 1/2 at 0.5; 1/2 and 1 at 0.8.
  np.testing.assert_allclose(
    [x.gain_error for x in table], [0.0, 0.0, 0.0, 0.25]
  )
  for cell in table:
    assert cell.num_rows == 2
    assert 0.0 <= cell.low <= cell.rate <= cell.high <= 1.0
    assert cell.low < cell.high


def test_unjudged_continuations_leave_the_table():
  found, verdicts = _grid()
  valid = np.ones_like(verdicts)
  # Row 1 at 0.5: one of the control, none of the phrase; all of 0.8 + (9,).
  valid[[1, 2, 3, 6, 7, 14, 15]] = 0
  first, second, third = injection.recovery_table(found, verdicts, valid)
  assert (first.rate, first.num_rows) == (0.5, 2)
  assert (second.rate, second.num_rows) == (0.5, 1)
  assert (second.gain, second.gain_error) == (0.5, None)
  assert third.phrase == ()
  assert injection.recovery_table(found, verdicts, 0 * valid) == []


def test_a_gain_needs_its_control():
  found, verdicts = _grid()
  valid = np.ones_like(verdicts)
  valid[[0, 1, 8, 9]] = 0
  cell = injection.recovery_table(found, verdicts, valid)[0]
  assert (cell.phrase, cell.gain, cell.gain_error) == ((9,), None, None)


def test_verdicts_that_do_not_fit_are_refused():
  found, verdicts = _grid()
  for wrong in (verdicts[:-1], verdicts[:0]):
    with pytest.raises(errors.UserError, match="entries for 8 prefixes"):
      injection.recovery_table(found, wrong)


@pytest.mark.parametrize("successes, trials", [(0, 10), (3, 10), (1, 1)])
def test_intervals_are_wilsons(successes, trials):
  expected = scipy.stats.binomtest(successes, trials).proportion_ci(
    method="wilson"
  )
  found = injection.wilson_interval(successes / trials, trials)
  np.testing.assert_allclose(found, expected, atol=1e-6)
