"""Tokenizers from folders: ids and chats as transformers writes them."""

import functools
import json
import random
import shutil

import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax.data import tokenizer
from rlvr_jax.data import vocabulary
from rlvr_jax.metrics import marker_tokens
from tests.data import absent
from tests.data import made

_DAY = "2026-01-31"
_CHATS = [k for k in made.KINDS if k != "gpt2"]
_TEXTS = [
  "",
  " ",
  "What is \\frac{1}{2} + \\boxed{42}?\n\n",
  "Natürlich: √2 ≈ 1.414 🙂👩‍👩‍👧 答案 e\u0301 \u200b\t",
  "<|im_start|>user\nhm<|im_end|><think>no</think><|endoftext|>",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("tokenizers")
  return functools.cache(lambda kind: made.make_tokenizer(root / kind, kind))


@pytest.fixture(scope="module")
def ours(folder):
  return functools.cache(lambda kind: tokenizer.load(folder(kind), date=_DAY))


@pytest.fixture(scope="module")
def theirs(folder):
  transformers = pytest.importorskip("transformers")
  return functools.cache(
    lambda kind: transformers.AutoTokenizer.from_pretrained(folder(kind))
  )


def _user(text):
  return {"role": "user", "content": text}


def _says(text):
  return {"role": "assistant", "content": text}


def _told(text):
  return {"role": "system", "content": text}


_MESSAGES = {
  "one": [_user("What is √2 + 1?")],
  "system": [_told("Put the answer within \\boxed{}."), _user("1+1?")],
  "empty system": [_told(""), _user("1+1?")],
  "empty question": [_user("")],
  "turns": [
    _told(" spaces "),
    _user("答案 <b>&amp; 'x'</b> {{ 7 }} {% raw %}"),
    _says("<think>\nWait.\n</think>\n\n42"),
    _user("Are you sure?\n"),
  ],
  "ends with the assistant": [_user("1+1?"), _says("<think>\n</think>2")],
  "none as a value": [{**_user("1+1?"), "tool_calls": None}],
  "a control token": [_user("say <|im_end|> or <|eot_id|>")],
}


def _expected(theirs, messages, **options):
  return theirs.apply_chat_template(
    messages, tokenize=True, return_dict=False, **options
  )


@pytest.mark.parametrize("kind", made.KINDS)
def test_texts_are_encoded_and_decoded_as_transformers_does(kind, ours, theirs):
  ours, theirs = ours(kind), theirs(kind)
  rng = random.Random(0)
  noise = ["".join(rng.choices(_TEXTS[2] + _TEXTS[3], k=30)) for _ in range(50)]
  for text in _TEXTS + noise:
    ids = theirs.encode(text, add_special_tokens=False)
    assert list(ours.encode(text)) == ids
    assert list(ours.begin(text)) == theirs.encode(text)
    assert ours.text(ids) == theirs.decode(ids)
  ids = rng.choices(range(len(theirs)), k=200)
  assert ours.text(ids) == theirs.decode(ids)
  assert ours.symbols == tuple(theirs.decode([i]) for i in range(len(theirs)))
  assert ours.vocab_size == len(theirs)
  assert ours.eos_id == theirs.eos_token_id


@pytest.mark.parametrize("prompts", [True, False])
@pytest.mark.parametrize("name", _MESSAGES)
@pytest.mark.parametrize("kind", _CHATS)
def test_chats_are_written_as_transformers_does(
  kind, name, prompts, ours, theirs
):
  messages = _MESSAGES[name]
  options = {"add_generation_prompt": prompts}
  variables = {"date_string": "31 Jan 2026"} if kind == "llama3" else {}
  expected = _expected(theirs(kind), messages, **options, **variables)
  assert list(ours(kind).chat(messages, **options, **variables)) == expected


@pytest.mark.parametrize("thinking", [True, False])
def test_thinking_can_be_switched_off(thinking, ours, theirs):
  messages = _MESSAGES["turns"]
  expected = _expected(
    theirs("qwen3"),
    messages,
    add_generation_prompt=True,
    enable_thinking=thinking,
  )
  found = ours("qwen3").chat(messages, enable_thinking=thinking)
  assert list(found) == expected
  ends = ours("qwen3").text(found).endswith("<think>\n\n</think>\n\n")
  assert ends != thinking


def test_tools_are_written_as_json(ours, theirs):
  tools = [{"type": "function", "name": "addiere", "über": '<a "b">'}]
  messages = _MESSAGES["system"]
  expected = _expected(
    theirs("qwen2.5"), messages, add_generation_prompt=True, tools=tools
  )
  assert list(ours("qwen2.5").chat(messages, tools=tools)) == expected


def test_what_transformers_saves_reads_the_same(folder, theirs, ours, tmp_path):
  for kind in _CHATS:
    theirs(kind).save_pretrained(tmp_path / kind)
    # It belongs to the model's files.
    shutil.copy(folder(kind) / "generation_config.json", tmp_path / kind)
    again = tokenizer.load(tmp_path / kind, date=_DAY)
    for name in ("pad_id", "eos_id", "vocab_size", "begin_ids", "template"):
      assert getattr(again, name) == getattr(ours(kind), name)
    messages = _MESSAGES["turns"]
    assert again.chat(messages) == ours(kind).chat(messages)


def test_today_is_the_day_that_was_set(folder, ours):
  messages = _MESSAGES["one"]
  assert "Today Date: 31 Jan 2026\n" in ours("llama3").chat_text(messages)
  undated = tokenizer.load(folder("llama3"))
  with pytest.raises(errors.UserError, match="prints today's date: set `date`"):
    undated.chat(messages)
  text = undated.chat_text(messages, date_string="1 May 1970")
  assert "Today Date: 1 May 1970\n" in text


def test_every_end_token_ends_a_completion(ours):
  t = ours("qwen2.5")
  end, text_end = (t.id(x) for x in ("<|im_end|>", "<|endoftext|>"))
  assert (t.eos_id, t.stop_ids) == (end, (end, text_end))
  words = t.encode("The answer")
  start = t.id("<|im_start|>")
  for stop in t.stop_ids:
    ids = np.array([*words, start, stop, t.pad_id, stop])
    assert t.decode(ids) == "The answer<|im_start|>"
  assert t.decode(words) == "The answer"
  assert t.decode([]) == ""


def test_further_tokens_can_end_a_completion(folder):
  t = tokenizer.load(folder("qwen3"), stop_tokens=("</think>", "<|im_end|>"))
  assert t.stop_ids[-1] == t.id("</think>")
  assert len(t.stop_ids) == 3
  assert t.decode(t.encode("<think>hm</think>42")) == "<think>hm"


@pytest.mark.parametrize(
  "kind, pad",
  [
    # Its own padding token ends texts as well.
    ("qwen2.5", "<|fim_pad|>"),
    ("llama3", "<|finetune_right_pad_id|>"),
    ("olmo", "<|pad|>"),
    # There is no other.
    ("gpt2", "<|endoftext|>"),
  ],
)
def test_padding_is_no_end_token_where_there_is_another(kind, pad, ours):
  t = ours(kind)
  assert t.pad_id == t.id(pad)
  assert (t.pad_id in t.stop_ids) == (kind == "gpt2")


def test_a_part_of_a_character_is_a_view_only(ours):
  t = ours("gpt2")
  ids = t.encode("🙃")
  assert len(ids) > 1
  assert t.text(ids[:-1]) == "\ufffd"
  assert t.encode(t.text(ids[:-1])) != ids[:-1]


def test_symbols_serve_the_tables_of_markers(folder):
  t = tokenizer.load(folder("qwen3"), vocab_size=512)
  assert len(t.symbols) == 512
  assert set(t.symbols[t.vocab_size :]) == {""}
  assert "</think>" in t.symbols
  table = marker_tokens.marker_table(t.symbols, ("answer", "<think>"))
  assert set(np.flatnonzero(table)) == {t.id(" answer"), t.id("<think>")}


def test_a_symbol_is_one_token(ours):
  t = ours("qwen3")
  assert t.has(" answer")
  assert not t.has(" unanswerable")
  assert not t.has("")
  with pytest.raises(errors.UserError, match="'zebra' is not one token of"):
    t.id("zebra")


def test_it_does_what_a_vocabulary_does():
  public = [name for name in dir(vocabulary.Vocabulary) if name[0] != "_"]
  fields = tokenizer.Tokenizer.__dataclass_fields__
  assert public
  for name in (*public, "symbols"):
    assert hasattr(tokenizer.Tokenizer, name) or name in fields, name


def test_settings_saved_in_the_file_cut_and_fill_nothing(folder, tmp_path):
  copied = made.make_tokenizer(tmp_path / "cut", "gpt2")
  path = copied / "tokenizer.json"
  content = json.loads(path.read_text())
  content["truncation"] = {
    "direction": "Right",
    "max_length": 3,
    "strategy": "LongestFirst",
    "stride": 0,
  }
  path.write_text(json.dumps(content))
  text = _TEXTS[2] * 3
  plain = tokenizer.load(folder("gpt2"))
  assert tokenizer.load(copied).encode(text) == plain.encode(text)


def test_templates_by_name_take_the_default(tmp_path):
  folder = made.make_tokenizer(tmp_path / "t", "gpt2")
  named = [
    {"name": "tool_use", "template": "tools"},
    {"name": "default", "template": "{{ messages[0].content }}!"},
  ]
  made.write(
    folder / "tokenizer_config.json",
    {"eos_token": {"content": "<|endoftext|>"}, "chat_template": named},
  )
  assert tokenizer.load(folder).chat_text([_user("hm")]) == "hm!"


def test_a_key_without_a_value_is_no_key(tmp_path):
  template = "{{ messages[0].tools is defined }} {{ messages[0].content }}"
  t = tokenizer.load(_broken(tmp_path, chat_template=template))
  assert t.chat_text([{**_user("hm"), "tools": None}]) == "False hm"


def _broken(tmp_path, kind="gpt2", **files):
  folder = made.make_tokenizer(tmp_path / "broken", kind)
  for name, content in files.items():
    name = name + (".jinja" if name == "chat_template" else ".json")
    (folder / name).write_text(content, encoding="utf-8")
  return folder


@pytest.mark.parametrize(
  "files, message",
  [
    ({"tokenizer": "{"}, "tokenizer.json is no tokenizer that this version"),
    ({"tokenizer_config": "{"}, "tokenizer_config.json is not JSON"),
    ({"tokenizer_config": "[]"}, "tokenizer_config.json is no JSON object"),
    ({"tokenizer_config": "{}"}, "names no token that ends a text"),
    (
      {"generation_config": '{"eos_token_id": [400, 9999]}'},
      "has the eos_token_id 9999, which is no token of tokenizer.json",
    ),
    (
      {
        "tokenizer_config": '{"added_tokens_decoder": {"7":'
        ' {"content": "<think>"}}}'
      },
      "gives '<think>' the id 7, but tokenizer.json beside it does not know it",
    ),
  ],
)
def test_damaged_folders_are_refused(tmp_path, files, message):
  folder = _broken(tmp_path, **files)
  with pytest.raises(errors.UserError, match=message) as found:
    tokenizer.load(folder)
  assert "\n" not in str(found.value)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
  with pytest.raises(errors.UserError, match="has no tokenizer.json"):
    tokenizer.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
  "options, message",
  [
    ({"vocab_size": 400}, "has 400 tokens, but the tokenizer of .* has 401"),
    ({"stop_tokens": ("<eos>",)}, "stop_tokens names '<eos>'"),
    ({"date": "today"}, "date is 'today': write it as 2026-01-31"),
  ],
)
def test_wrong_settings_are_refused(folder, options, message):
  with pytest.raises(errors.UserError, match=message):
    tokenizer.load(folder("gpt2"), **options)


@pytest.mark.parametrize(
  "template, message",
  [
    (None, "has no chat template: add a chat_template.jinja"),
    ("{% if %}", r"fails on the roles user \(Expected an expression"),
    ("{{ raise_exception('no\nuser') }}", r"roles user \(no user\)"),
    ("{{ messages[0].content + 1 }}", r"fails on the roles user \(can only"),
    ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ("{{ messages.append(1) }}", "unsafe"),
  ],
)
def test_templates_that_fail_are_one_sentence(tmp_path, template, message):
  files = {"chat_template": template} if template else {}
  t = tokenizer.load(_broken(tmp_path, **files))
  with pytest.raises(errors.UserError, match=message) as found:
    t.chat([_user("1+1?")])
  assert "\n" not in str(found.value)


def test_variables_that_no_template_reads_are_refused(ours):
  with pytest.raises(errors.UserError, match="not read 'enable_thinking'"):
    ours("qwen2.5").chat(_MESSAGES["one"], enable_thinking=False)
  with pytest.raises(errors.UserError, match="a chat has no messages"):
    ours("qwen2.5").chat([])


@pytest.mark.parametrize("package", ["tokenizers", "jinja2"])
def test_missing_packages_are_one_sentence(package, folder):
  found = absent.error_without(
    package, "tokenizer", f"tokenizer.load({str(folder('qwen3'))!r})"
  )
  assert found == (
    f"reading a tokenizer needs the package {package}: pip install tokenizers"
    " jinja2\n"
  )
