"""The teacher's pass: the same numbers however its rows are read."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax.data import templates
from rlvr_jax.rollouts import demonstrations
from rlvr_jax.rollouts import scoring
from rlvr_jax.rollouts import teacher
from tests import testing

_CONFIG = teacher.TeacherConfig(
  "{demonstration}{prompt}", prompt_tokens=11, context="sibling"
)
_PIECES = ("demonstration", (7,), "prompt")


def _batch():
  # The first row of each group is right, and in two groups another.
  batch = testing.rollout_batch(num_prompts=4, samples=3)
  correct = jnp.array([1.0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1])
  return batch.replace(is_correct=correct)


def _shown(batch, config=_CONFIG):
  return teacher.show(
    batch,
    demonstrations.sibling,
    config,
    _PIECES,
    stop_ids=(testing.EOS,),
    pad_id=testing.PAD,
  )


def _score(batch, params=None, **settings):
  model, own = testing.tiny_model()
  prompts, has_teacher, _ = _shown(batch)
  run = jax.jit(
    functools.partial(teacher.score, model, temperature=1.0, **settings)
  )
  return run(
    params or own, prompts, batch.completion_tokens, has_teacher
  ), has_teacher


def test_each_row_reads_a_prompt_of_its_own():
  batch = _batch()
  prompts, has_teacher, metrics = _shown(batch)
  assert has_teacher.tolist() == [1, 1, 1, 0, 1, 1, 0, 0, 0, 1, 1, 1]
  model, params = testing.tiny_model()
  scores, _ = _score(batch)
  for row in np.flatnonzero(has_teacher):
    alone = jax.tree.map(lambda x, r=row: x[r : r + 1], prompts)
    expected = testing.score(
      model, params, alone, batch.completion_tokens[row : row + 1]
    )
    inside = batch.completion_mask[row] > 0
    np.testing.assert_allclose(
      scores.logprobs[row][inside], expected.logprobs[0][inside], atol=1e-5
    )
  # The demonstration is what is longer than prompt and separator.
  longer = jnp.sum(prompts.prompt_mask, axis=1) - 1
  longer -= jnp.repeat(jnp.sum(batch.prompts.prompt_mask, axis=1), 3)
  mean = jnp.sum(longer * has_teacher) / jnp.sum(has_teacher)
  np.testing.assert_allclose(
    metrics["teacher/demonstration_tokens"], mean, rtol=1e-6
  )


def test_right_rows_alone_can_have_a_teacher():
  config = dataclasses.replace(_CONFIG, correct_only=True)
  batch = _batch()
  _, has_teacher, _ = _shown(batch, config)
  assert has_teacher.tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1]


def test_a_demonstration_that_is_cut_is_counted():
  config = dataclasses.replace(_CONFIG, prompt_tokens=7)
  _, has_teacher, metrics = _shown(_batch(), config)
  _, _, whole = _shown(_batch())
  assert 0 < metrics["teacher/cut_frac"] <= 1
  assert whole["teacher/cut_frac"] == 0
  assert jnp.sum(has_teacher) == 8


@pytest.mark.parametrize("rows_per_pass", [1, 2, 3, 4, 6, 12])
def test_gathered_rows_give_what_all_rows_give(rows_per_pass):
  batch = _batch()
  whole, has_teacher = _score(batch, full_support=True)
  found, _ = _score(batch, rows_per_pass=rows_per_pass, full_support=True)
  for name in ("logprobs", "entropies", "support_logprobs"):
    ours, theirs = getattr(found, name), getattr(whole, name)
    cells = (has_teacher[:, None] * batch.completion_mask) > 0
    np.testing.assert_allclose(ours[cells], theirs[cells], atol=1e-5)


def test_passes_that_no_row_needs_are_skipped():
  # Eight rows of twelve have a teacher: of twelve passes four are skipped.
  scores, has_teacher = _score(_batch(), rows_per_pass=1)
  assert not np.any(scores.entropies[has_teacher == 0])
  assert np.all(scores.entropies[has_teacher == 1, 0] > 0)
  # Also where nobody has one.
  batch = _batch()
  batch = batch.replace(is_correct=jnp.zeros_like(batch.is_correct))
  scores, has_teacher = _score(batch, rows_per_pass=4)
  assert not np.any(has_teacher)
  assert not np.any(scores.logprobs)


@pytest.mark.slow
def test_candidates_are_scored_over_the_whole_vocabulary():
  model, params = testing.tiny_model()
  batch = _batch()
  args = (model, params, batch.prompts, batch.completion_tokens)
  whole = scoring.score_completions(*args, full_support=True)
  assert whole.support_logprobs.shape == (12, 6, 11)
  total = jnp.sum(jnp.exp(whole.support_logprobs), axis=-1)
  np.testing.assert_allclose(total, 1.0, rtol=1e-5)
  taken = jnp.take_along_axis(
    whole.support_logprobs, batch.completion_tokens[..., None], axis=-1
  )[..., 0]
  np.testing.assert_allclose(taken, whole.logprobs, atol=1e-5)
  ids = scoring.likeliest_tokens(*args, 3)
  some = scoring.score_completions(*args, support_ids=ids)
  best = jnp.sort(whole.support_logprobs, axis=-1)[..., ::-1][..., :3]
  np.testing.assert_allclose(some.support_logprobs, best, atol=1e-5)


def test_a_teacher_follows_the_policy_at_its_rate():
  # T15 of the dossier.
  import optax

  state = testing.train_state({"w": jnp.array(3.0)}, optax.sgd(1.0))
  state = state.replace(teacher_params={"w": jnp.array(1.0)})
  for rate, expected in ((0.05, 1.1), (0.0, 1.0), (1.0, 3.0)):
    config = dataclasses.replace(_CONFIG, weights="ema", ema_rate=rate)
    followed = teacher.follow(state, config).teacher_params["w"]
    np.testing.assert_allclose(followed, expected, rtol=1e-6)
  for weights in ("current", "frozen"):
    config = dataclasses.replace(_CONFIG, weights=weights)
    assert teacher.follow(state, config) is state


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(weights="old"), "config.teacher.weights is 'old'"),
    (dict(ema_rate=1.5), "config.teacher.ema_rate is 1.5"),
    (dict(top_k=-1), "config.teacher.top_k is -1"),
    (dict(template="{prompt}"), "config.teacher.template"),
  ],
)
def test_bad_settings_are_named(changes, message):
  with pytest.raises(errors.UserError, match=message):
    dataclasses.replace(_CONFIG, **changes)


def test_a_bucket_without_room_is_refused():
  encode = lambda text: tuple(map(ord, text))
  with pytest.raises(errors.UserError, match="set it to 7 or more"):
    teacher.pieces_of(
      dataclasses.replace(
        _CONFIG, template="{demonstration}|{prompt}", prompt_tokens=6
      ),
      encode,
      5,
    )
  assert templates.literal_tokens(_PIECES) == 1


# T24 of the dossier: who sits where in a group does not matter.
def test_rows_in_another_order_get_the_same_scores():
  batch = _batch()
  order = jnp.array([2, 0, 1, 4, 3, 5, 8, 7, 6, 9, 11, 10])
  moved = batch.replace(
    completion_tokens=batch.completion_tokens[order],
    completion_mask=batch.completion_mask[order],
  )
  # The demonstrations of the rows go with them.
  model, params = testing.tiny_model()
  prompts, has_teacher, _ = _shown(batch)
  score = jax.jit(
    lambda prompts, tokens, has: (
      teacher.score(
        model, params, prompts, tokens, has, temperature=1.0, rows_per_pass=4
      ).logprobs
    )
  )
  before = score(prompts, batch.completion_tokens, has_teacher)
  after = score(
    jax.tree.map(lambda x: x[order], prompts),
    moved.completion_tokens,
    has_teacher[order],
  )
  cells = (has_teacher[:, None] * batch.completion_mask) > 0
  np.testing.assert_allclose(
    after[cells[order]], before[order][cells[order]], atol=1e-5
  )
