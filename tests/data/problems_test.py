"""Problems as arrays: prompts as the tokenizer writes them, answers beside."""

import functools

import jax
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import settings
from rlvr_jax.data import problems
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import schemas
from rlvr_jax.data import tokenizer
from tests.data import made

_DAY = "2026-01-31"
_SUM = schemas.Problem("What is √2 + {1}?", "2.414", "f:1")
_CHAT = schemas.Problem(
  (
    schemas.Message("user", "hm?"),
    schemas.Message("assistant", "42"),
    schemas.Message("user", "sure?"),
  ),
  "yes",
  "f:2",
)
_TOLD = schemas.Problem(
  (schemas.Message("system", "Think."), schemas.Message("user", "1+1?")),
  "2",
  "f:3",
)


@pytest.fixture(scope="module")
def load(tmp_path_factory):
  root = tmp_path_factory.mktemp("tokenizers")
  return functools.cache(
    lambda kind: tokenizer.load(
      made.make_tokenizer(root / kind, kind), date=_DAY
    )
  )


def _encoded(found, t, config=None, prompt_tokens=80, completion_tokens=5):
  return problems.prompt_set(
    found,
    t,
    config or problems.PromptConfig(),
    prompt_tokens=prompt_tokens,
    completion_tokens=completion_tokens,
  )


def _texts(encoded, t):
  batch = encoded.prompts.prompts
  return [
    t.text(row[mask > 0])
    for row, mask in zip(batch.prompt_tokens, batch.prompt_mask, strict=True)
  ]


@pytest.mark.parametrize("kind", ["qwen2.5", "qwen3", "llama3", "olmo"])
def test_prompts_are_the_chats_of_the_tokenizer(kind, load):
  t = load(kind)
  found = [_SUM, _CHAT, _TOLD]
  encoded = _encoded(found, t, prompt_tokens=200)
  for text, problem in zip(_texts(encoded, t), found, strict=True):
    turns = problem.prompt
    if isinstance(turns, str):
      turns = [schemas.Message("user", turns)]
    assert text == t.chat_text([turn._asdict() for turn in turns])


def test_the_bucket_is_filled_on_the_left(load):
  t = load("qwen2.5")
  found = [_SUM, _CHAT]
  encoded = _encoded(found, t, prompt_tokens=100)
  batch = encoded.prompts.prompts
  for i, problem in enumerate(found):
    ids = problems.prompt(problem, t, problems.PromptConfig())
    row, mask = batch.prompt_tokens[i], batch.prompt_mask[i]
    assert tuple(row[-len(ids) :]) == ids
    assert set(row[: -len(ids)]) == {t.pad_id}
    np.testing.assert_array_equal(mask, np.arange(100) >= 100 - len(ids))
  np.testing.assert_array_equal(batch.prompt_ids, [0, 1])
  assert encoded.golds == ("2.414", "yes")
  assert encoded.sources == ("f:1", "f:2")


def test_a_template_and_a_system_message_surround_the_question(load):
  t = load("qwen3")
  config = problems.PromptConfig(
    "Q: {question}\nUse \\boxed{}.", system="Be brief."
  )
  one, turns = _texts(_encoded([_SUM, _CHAT], t, config, 200), t)
  start = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
  end = "<|im_end|>\n<|im_start|>assistant\n"
  asked = "Q: What is √2 + {1}?\nUse \\boxed{}."
  assert one == start + asked + end
  assert turns.startswith(start + "hm?<|im_end|>")
  # Of a chat, what is said last.
  assert turns.endswith("user\nQ: sure?\nUse \\boxed{}." + end)


def test_no_system_message_is_another_thing_than_an_empty_one(load):
  t = load("qwen2.5")
  none, empty = (problems.PromptConfig(system=system) for system in (None, ""))
  text = lambda config: t.text(problems.prompt(_SUM, t, config))
  assert "You are made up." in text(none)
  assert text(empty).startswith("<|im_start|>system\n<|im_end|>")


def test_thinking_is_handed_to_the_template(load):
  text = lambda thinking: load("qwen3").text(
    problems.prompt(
      _SUM, load("qwen3"), problems.PromptConfig(thinking=thinking)
    )
  )
  assert text(None) == text(True)
  assert text(False) == text(True) + "<think>\n\n</think>\n\n"
  with pytest.raises(errors.UserError, match="not read 'enable_thinking'"):
    problems.prompt(_SUM, load("olmo"), problems.PromptConfig(thinking=True))


@pytest.mark.parametrize(
  "kind, start", [("llama3", "<|begin_of_text|>"), ("qwen3", ""), ("gpt2", "")]
)
def test_plain_prompts_begin_as_texts_do(kind, start, load):
  t = load(kind)
  config = problems.PromptConfig("{question}\n", chat=False)
  (text,) = _texts(_encoded([_SUM], t, config), t)
  assert text == start + "What is √2 + {1}?\n"


def test_prompts_longer_than_the_bucket_are_left_out_and_counted(load):
  t = load("qwen3")
  long = _SUM._replace(prompt="x" * 500, answer="no", source="f:9")
  encoded = _encoded([_SUM, long, _CHAT], t, prompt_tokens=100)
  assert encoded.num_over_long == 1
  assert encoded.longest == len(
    problems.prompt(long, t, problems.PromptConfig())
  )
  assert encoded.golds == ("2.414", "yes")
  np.testing.assert_array_equal(encoded.prompts.prompts.prompt_ids, [0, 1])


@pytest.mark.parametrize(
  "over_long, spare, message",
  [
    # Tokens of the bucket beyond those of the shorter prompt.
    ("error", -1, "but 2 of 2 prompts are longer, f:2 with .* raise it$"),
    ("drop", -1, "but 2 of 2 prompts are longer, f:2 with .* raise it$"),
    ("error", 0, "1 of 2 prompts .* raise it, or set .*over_long to 'drop'$"),
  ],
)
def test_prompts_that_may_not_be_left_out_are_refused(
  over_long, spare, message, load
):
  t, config = load("qwen3"), problems.PromptConfig(over_long=over_long)
  tokens = len(problems.prompt(_SUM, t, config)) + spare
  with pytest.raises(errors.UserError, match=message):
    _encoded([_SUM, _CHAT], t, config, prompt_tokens=tokens)


def test_a_set_without_demonstrations_works_inside_jit(load):
  t = load("qwen3")
  encoded = jax.device_put(_encoded([_SUM, _CHAT, _TOLD], t).prompts)
  assert encoded.num_prompts == 3
  np.testing.assert_array_equal(encoded.num_demonstrations, [0, 0, 0])
  np.testing.assert_array_equal(encoded.demonstrations, [[t.pad_id] * 5])
  batch = jax.jit(prompts_lib.take)(encoded.prompts, jax.numpy.array([2, 0]))
  np.testing.assert_array_equal(batch.prompt_ids, [2, 0])
  assert batch.prompt_tokens.dtype == np.int32
  assert batch.answers == {}


@pytest.mark.parametrize(
  "found, config, message",
  [
    ([], {}, "a split of config.data is empty"),
    ([_CHAT], {"chat": False}, "f:2 is a chat of 3 messages: set config.data"),
    ([_TOLD], {"system": "x"}, "system is 'x', but f:3 has a system message"),
  ],
)
def test_problems_that_cannot_be_asked_so_are_refused(
  found, config, message, load
):
  with pytest.raises(errors.UserError, match=message):
    _encoded(found, load("qwen3"), problems.PromptConfig(**config))


@pytest.mark.parametrize(
  "block, message",
  [
    ({"template": "Solve."}, r"with {question} 0 times: name it exactly once"),
    ({"template": "{question}{question}"}, "{question} 2 times"),
    ({"template": "{question} \\boxed{{}}"}, "braces are not doubled"),
    ({"over_long": "cut"}, "over_long is 'cut': choose one of drop, error"),
    ({"chat": False, "system": ""}, "system is '', which only a chat has"),
    ({"chat": False, "thinking": True}, "thinking is True, which only a chat"),
  ],
)
def test_settings_are_checked(block, message):
  with pytest.raises(errors.UserError, match=message):
    settings.typed(problems.PromptConfig, block, "config.data.prompt")


def test_an_experiment_file_can_hold_them():
  block = {"system": "", "thinking": False, "template": "{question}!"}
  found = settings.typed(problems.PromptConfig, block, "config.data.prompt")
  assert found == problems.PromptConfig("{question}!", "", True, False)


@pytest.mark.parametrize(
  "kind, thinking",
  [("qwen2.5", None), ("qwen3", None), ("qwen3", False), ("llama3", None)],
)
def test_the_tail_of_a_chat_is_what_hands_over_to_the_assistant(
  load, kind, thinking
):
  t = load(kind)
  config = problems.PromptConfig(
    template="{question} Think!", thinking=thinking
  )
  tail = problems.chat_tail(t, config)
  assert "assistant" in t.text(tail)
  assert "Think" not in t.text(tail)
  ids = problems.prompt(_SUM, t, config)
  assert ids[-len(tail) :] == tail
  assert t.text(ids[: -len(tail)]).endswith("{1}? Think!")


def test_plain_prompts_have_no_tail(load):
  config = problems.PromptConfig(chat=False)
  assert problems.chat_tail(load("qwen2.5"), config) == ()
