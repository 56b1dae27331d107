"""A template filled with token ids equals the text put together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import records
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import templates
from rlvr_jax.data import vocabulary

_V = vocabulary.ARITHMETIC


def _prompts(texts, length):
  tokens, mask = prompts_lib.pad_left(
    [_V.encode(text) for text in texts], length, _V.pad_id
  )
  return records.PromptBatch(
    prompt_tokens=jnp.asarray(tokens),
    prompt_mask=jnp.asarray(mask),
    prompt_ids=jnp.arange(len(texts)),
    answers={},
  )


def _filled(template, prompts, shown, width, tail=""):
  """Texts of the filled prompts, and how many tokens each lost."""
  pieces = templates.parse(template, _V.encode)
  length = max(map(len, prompts))
  tokens, mask = prompts_lib.pad_right(
    [_V.encode(text) for text in shown], max(map(len, shown)) + 2, _V.pad_id
  )
  fill = jax.jit(
    lambda *x: templates.fill(
      pieces, *x, width=width, pad_id=_V.pad_id, tail=_V.encode(tail)
    )
  )
  batch, lost = fill(
    _prompts(prompts, length), jnp.asarray(tokens), jnp.asarray(mask)
  )
  assert batch.prompt_tokens.shape == (len(prompts), width)
  texts = []
  for row, real in zip(
    np.asarray(batch.prompt_tokens), np.asarray(batch.prompt_mask), strict=True
  ):
    # Left-padded, without a hole.
    assert np.all(np.diff(real) >= 0)
    assert np.all(row[real == 0] == _V.pad_id)
    texts.append(_V.decode(row[real > 0]))
  return texts, lost.tolist()


@pytest.mark.parametrize(
  "template",
  [
    "{demonstration}|{prompt}",
    "{prompt}#{demonstration}#?",
    "{demonstration}{prompt}",
  ],
)
def test_it_reads_as_the_text_would(template):
  prompts, shown = ["1+2=", "9="], ["3", "9*1=9,9+1=10"]
  texts, lost = _filled(template, prompts, shown, width=24)
  assert texts == [
    template.format(prompt=p, demonstration=d)
    for p, d in zip(prompts, shown, strict=True)
  ]
  assert lost == [0, 0]


def test_only_the_demonstration_is_cut_and_from_the_left():
  texts, lost = _filled(
    "#{demonstration}|{prompt}", ["12+2=", "9="], ["123456", "12"], width=10
  )
  assert texts == ["#456|12+2=", "#12|9="]
  assert lost == [3, 0]


def test_what_all_prompts_end_with_ends_the_whole():
  # As a chat's "assistant:" does, before which the teacher is told more.
  texts, lost = _filled(
    "{prompt}#{demonstration}#", ["12+2=:>", "9=:>"], ["123", "4"], 12, ":>"
  )
  assert texts == ["12+2=#123#:>", "9=#4#:>"]
  assert lost == [0, 0]
  texts, lost = _filled(
    "{prompt}#{demonstration}#", ["12+2=:>", "9=:>"], ["123", "4"], 10, ":>"
  )
  assert texts == ["12+2=#3#:>", "9=#4#:>"]
  assert lost == [2, 0]


def test_an_empty_demonstration_leaves_the_rest():
  texts, _ = _filled("{demonstration}|{prompt}", ["9="], [""], width=5)
  assert texts == ["|9="]


def test_the_filled_prompt_keeps_what_belongs_to_the_problem():
  prompts = _prompts(["9="], 2).replace(answers={"answer": jnp.array([9])})
  pieces = templates.parse("{demonstration}{prompt}", _V.encode)
  batch, _ = templates.fill(
    pieces, prompts, jnp.zeros((1, 3), jnp.int32), jnp.zeros((1, 3)), width=4,
    pad_id=0,
  )  # fmt: skip
  assert batch.answers["answer"].tolist() == [9]
  assert batch.prompt_ids.tolist() == [0]


@pytest.mark.parametrize(
  "template, name",
  [
    ("{prompt}", "{demonstration}"),
    ("{demonstration}", "{prompt}"),
    ("{prompt}{prompt}{demonstration}", "{prompt}"),
  ],
)
def test_a_template_without_its_placeholders_is_refused(template, name):
  with pytest.raises(
    errors.UserError, match="config.teacher.template"
  ) as found:
    templates.parse(template, _V.encode)
  assert name in str(found.value)
  assert "\n" not in str(found.value)
