"""Imitation: each prompt's own demonstrations, until the target."""

import functools

import jax
import numpy as np
import optax
import pytest

from rlvr_jax import errors
from rlvr_jax import optimizers
from rlvr_jax import update
from rlvr_jax import warm_start
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import vocabulary
from tests import testing

_V = vocabulary.ARITHMETIC
_ROWS = [
  {"prompt": "1+2=", "demonstrations": "3\n03\n003", "answer": 3},
  {"prompt": "9=", "demonstrations": "9", "answer": 9},
  {"prompt": "4+1=", "demonstrations": "5\n05", "answer": 5},
]


@functools.cache
def _prompt_set():
  encoded = prompts_lib.prompt_set(_ROWS, _V, 4, 5, ("answer",))
  return jax.device_put(encoded)


_draw = jax.jit(warm_start.demonstrations, static_argnums=(3, 4))


def _batch(step, seed=0):
  return _draw(_prompt_set(), seed, step, 3, _V.pad_id)


def test_every_row_imitates_a_demonstration_of_its_prompt():
  seen = {row["prompt"]: set() for row in _ROWS}
  for step in range(30):
    batch = _batch(step)
    for b, prompt_id in enumerate(np.asarray(batch.prompts.prompt_ids)):
      row = _ROWS[prompt_id]
      text = _V.decode(batch.completion_tokens[b])
      assert text in row["demonstrations"].split("\n")
      seen[row["prompt"]].add(text)
      # The end token is learned too.
      assert batch.completion_mask[b].sum() == len(text) + 1
  # All demonstrations of every prompt come up.
  assert sum(map(len, seen.values())) == 6


def test_a_batch_is_a_function_of_seed_and_step():
  same = _batch(3), _batch(3)
  jax.tree.map(np.testing.assert_array_equal, *same)
  different = _batch(3, seed=0), _batch(3, seed=1)
  assert not np.array_equal(*(x.completion_tokens for x in different))


def test_every_row_is_a_group_of_its_own():
  np.testing.assert_array_equal(_batch(0).group_ids, [0, 1, 2])


def _run(target=2.0, steps=40, stop_after=None, accuracies=None):
  model, params = testing.tiny_model(vocab_size=32)
  optimizer = optax.sgd(0.1)
  state = testing.train_state(params, optimizer)

  @jax.jit
  def step(state, prompt_set):
    batch = warm_start.demonstrations(
      prompt_set, state.seed, state.step, 3, _V.pad_id
    )
    return update.train_step(
      state,
      batch,
      model=model,
      method=warm_start.IMITATION,
      optimizer=optimizer,
      config=update.UpdateConfig(),
    )

  config = warm_start.WarmStartConfig(
    num_steps=steps,
    batch_size=3,
    optimizer=optimizers.OptimizerConfig(learning_rate=0.1),
    target_pass_at_1=target,
    validate_every_steps=10,
  )
  reports, taken = [], []

  def counted(state, prompt_set, number):
    assert number == len(taken)
    taken.append(1)
    return step(state, prompt_set)

  state, complete = warm_start.run(
    state,
    _prompt_set(),
    step_function=counted,
    validate=lambda _: (accuracies or [0.0] * 99)[len(reports)],
    config=config,
    report=lambda step, metrics: reports.append((step, metrics)),
    stop_requested=lambda: len(taken) == stop_after,
  )
  return int(state.step), complete, reports


def test_the_likelihood_rises():
  steps, complete, reports = _run()
  losses = [metrics["loss"] for _, metrics in reports]
  assert (steps, complete) == (40, True)
  assert losses[-1] < 0.7 * losses[0]


def test_it_stops_at_the_target():
  steps, complete, reports = _run(target=0.35, accuracies=[0.1, 0.4])
  assert (steps, complete) == (20, True)
  assert [step for step, _ in reports] == [10, 20]


def test_it_stops_when_asked_and_is_not_complete():
  steps, complete, _ = _run(stop_after=7)
  assert (steps, complete) == (7, False)


def test_a_stop_at_the_last_step_is_complete():
  steps, complete, _ = _run(steps=10, stop_after=10)
  assert (steps, complete) == (10, True)


# ------------------------------------------------------- behind hints

_HINTED_ROWS = [
  {"prompt": "1+2=", "demonstrations": "3\n03\n003", "answer": 3},
  {"prompt": "4+1=", "demonstrations": "5\n05", "answer": 5},
]
_PIECES = ("demonstration", _V.encode("|"), "prompt")


def _hinted(step, copy_frac, contexts):
  prompt_set = prompts_lib.prompt_set(
    _HINTED_ROWS,
    _V,
    4,
    5,
    ("answer",),
    {"gold_answer": lambda r: "#" + str(r["answer"])},
  )
  draw = jax.jit(
    functools.partial(
      warm_start.hinted_demonstrations,
      batch_size=2,
      config=warm_start.HintsConfig(2, copy_frac, contexts),
      pieces=_PIECES,
      prompt_tokens=9,
      stop_ids=_V.stop_ids,
      pad_id=_V.pad_id,
    )
  )
  batch = draw(jax.device_put(prompt_set), 0, step)
  plain = warm_start.demonstrations(
    jax.device_put(prompt_set), 0, step, 2, _V.pad_id
  )
  for b, prompt_id in enumerate(np.asarray(batch.prompts.prompt_ids)):
    real = np.asarray(batch.prompts.prompt_mask[b]) > 0
    prompt = _V.decode(np.asarray(batch.prompts.prompt_tokens[b])[real])
    shown, _, asked = prompt.partition("|")
    assert asked == _HINTED_ROWS[prompt_id]["prompt"]
    yield (
      prompt_id,
      shown,
      _V.decode(batch.completion_tokens[b]),
      _V.decode(plain.completion_tokens[b]),
    )


def test_what_is_shown_is_what_is_to_be_said():
  seen = set()
  for step in range(20):
    for _, shown, target, _ in _hinted(step, 1.0, ("sibling",)):
      assert shown == target
      seen.add(shown)
  assert seen == {"3", "03", "003", "5", "05"}


@pytest.mark.slow
def test_without_copies_the_target_is_drawn_apart():
  pairs = set()
  for step in range(20):
    for _, shown, target, plain in _hinted(step, 0.0, ("sibling",)):
      assert target == plain
      pairs.add((shown, target))
  assert {("3", "03"), ("03", "3"), ("5", "5"), ("05", "5")} <= pairs


def test_contexts_take_turns_and_an_answer_stands_for_the_first():
  for step, answers in ((0, False), (2, True), (4, False), (6, True)):
    for prompt_id, shown, target, _ in _hinted(
      step, 1.0, ("sibling", "gold_answer")
    ):
      assert shown.startswith("#") == answers
      if answers:
        first = _HINTED_ROWS[prompt_id]["demonstrations"].split("\n")[0]
        assert target == first


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(every=0), "config.warm_start.hints.every is 0"),
    (dict(copy_frac=1.5), "config.warm_start.hints.copy_frac is 1.5"),
    (dict(contexts=("answer",)), "config.warm_start.hints.contexts"),
  ],
)
def test_bad_hints_are_named(changes, message):
  with pytest.raises(errors.UserError, match=message):
    warm_start.HintsConfig(**({"every": 4} | changes))
