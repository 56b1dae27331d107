"""Tokenizers made on the spot, in folders like those of released models."""

import json
import pathlib

import tokenizers
from tokenizers import decoders
from tokenizers import models
from tokenizers import normalizers
from tokenizers import pre_tokenizers
from tokenizers import processors
from tokenizers import trainers

_CORPUS = [
  "Please reason step by step, and put your final answer within \\boxed{}.",
  "system user assistant You are a helpful assistant. Wait, hmm, perhaps not.",
  "What is the sum of 12 and 30? The answer is 42. x^2 + \\frac{1}{2} = 3",
  "Natürlich: die Lösung ist √2 ≈ 1.414. 答案是四十二。 Ответ: 42 🙂",
] * 8

# A default system message, its own if it comes first, and tools as JSON.
_QWEN2_5 = """\
{%- if tools %}
    {{- '<|im_start|>system\\n# Tools\\n' }}
    {%- for tool in tools %}
        {{- tool | tojson }}
        {{- "\\n" }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are made up.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if loop.index0 == 0 and message.role == 'system' %}
        {%- continue %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content }}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

# Earlier thinking is dropped, and an empty block switches the next off.
_QWEN3 = """\
{%- set ns = namespace(last_user=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {%- set ns.last_user = loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role == 'assistant' %}
        {%- if '</think>' in content and loop.index0 < ns.last_user %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' }}
        {%- generation %}
        {{- content }}
        {%- endgeneration %}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' ~ message.role ~ '\\n' ~ content ~ '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

# Begins with its own token, prints the date, and has roles take turns.
_LLAMA3 = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Conversation roles must\\nalternate!') }}
    {%- endif %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

# Written with blocks on lines of their own; thinking is always opened.
_OLMO = """\
{{ bos_token }}{% for message in messages %}
  {% if message['role'] == 'assistant' and loop.last %}
{{ '<|im_start|>assistant\\n' + message['content'] + eos_token }}
  {% else %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] }}<|im_end|>
  {% endif %}
  {% if loop.last and add_generation_prompt %}
{{ '<|im_start|>assistant\\n<think>' }}
  {% endif %}
{% endfor %}
"""

_CHAT = ("<|im_start|>", "<|im_end|>")
# Special tokens, other added tokens, tokens by name, template, end tokens of
# generation_config.json.
_KINDS = {
  "qwen2.5": (
    ("<|endoftext|>", *_CHAT, "<|fim_pad|>"),
    (),
    {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    _QWEN2_5,
    ("<|im_end|>", "<|endoftext|>"),
  ),
  "qwen3": (
    ("<|endoftext|>", *_CHAT, "<|fim_pad|>"),
    ("<think>", "</think>"),
    {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    _QWEN3,
    ("<|im_end|>", "<|endoftext|>"),
  ),
  "llama3": (
    (
      "<|begin_of_text|>",
      "<|end_of_text|>",
      "<|start_header_id|>",
      "<|end_header_id|>",
      "<|eot_id|>",
      "<|finetune_right_pad_id|>",
    ),
    (),
    {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    _LLAMA3,
    ("<|end_of_text|>", "<|eot_id|>"),
  ),
  "olmo": (
    ("<|endoftext|>", *_CHAT, "<|pad|>"),
    ("<think>", "</think>"),
    {
      "bos_token": "<|endoftext|>",
      "eos_token": "<|endoftext|>",
      "unk_token": "<|endoftext|>",
      "pad_token": "<|pad|>",
    },
    _OLMO,
    ("<|im_end|>", "<|endoftext|>"),
  ),
  "gpt2": (
    ("<|endoftext|>",),
    (),
    {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
    None,
    (),
  ),
}
KINDS = tuple(_KINDS)


def make_tokenizer(folder: pathlib.Path, kind: str) -> pathlib.Path:
  """Writes the files of a small byte-level tokenizer of some kind.

  Args:
    folder: made if need be.
    kind: one of `KINDS`: named after the family whose special tokens and
      template features it has. "gpt2" has no chat template.

  Returns:
    The folder.
  """
  special, added, named, template, stops = _KINDS[kind]
  backend = tokenizers.Tokenizer(models.BPE())
  backend.normalizer = normalizers.NFC() if "qwen" in kind else None
  backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  backend.decoder = decoders.ByteLevel()
  backend.train_from_iterator(
    _CORPUS,
    trainers.BpeTrainer(
      vocab_size=400,
      initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
      show_progress=False,
    ),
  )
  token = tokenizers.AddedToken
  backend.add_special_tokens([token(t, normalized=False) for t in special])
  backend.add_tokens([token(t, normalized=False) for t in added])
  if kind == "llama3":
    begin = named["bos_token"]
    backend.post_processor = processors.TemplateProcessing(
      single=f"{begin} $A",
      special_tokens=[(begin, backend.token_to_id(begin))],
    )
  folder.mkdir(parents=True, exist_ok=True)
  backend.save(str(folder / "tokenizer.json"))
  config = {"tokenizer_class": "PreTrainedTokenizerFast", **named}
  # As folders were written at various times.
  if kind == "qwen3":
    config["added_tokens_decoder"] = {
      str(number): {
        "content": added.content,
        "lstrip": False,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
        "special": added.special,
      }
      for number, added in backend.get_added_tokens_decoder().items()
    }
  if kind == "qwen2.5":
    config["chat_template"] = template
  elif template:
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
  if kind == "olmo":
    write(folder / "special_tokens_map.json", named)
    config = {"tokenizer_class": config["tokenizer_class"]}
  write(folder / "tokenizer_config.json", config)
  if stops:
    ids = [backend.token_to_id(stop) for stop in stops]
    write(folder / "generation_config.json", {"eos_token_id": ids})
  return folder


def write(path: pathlib.Path, content) -> None:
  """Writes JSON."""
  path.write_text(json.dumps(content), encoding="utf-8")
