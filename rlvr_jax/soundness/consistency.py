"""Before a run goes on: what has to agree does, or the run is refused.

Sampler and trainer on the same tokens, texts there and back through the
tokenizer, the verifier on right answers and on nonsense, and weights between
devices. None of it changes a number of the run.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import json
from typing import Any, NamedTuple
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import errors
from rlvr_jax import hosts
from rlvr_jax import masked
from rlvr_jax import parts as parts_lib
from rlvr_jax import records
from rlvr_jax import settings
from rlvr_jax import summary
from rlvr_jax.data import texts as texts_lib
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import scoring
from rlvr_jax.verifiers import pool as pool_lib

# Tokens by which prompts and completions are padded to see whether it matters.
_MORE_PADS = 8
_NUM_TEXTS = 64
_NONSENSE = ("", "I do not know.", r"\boxed{}", r"The answer is \boxed{?!}.")
# Verifiers that read an answer in a box; a user's own may ask for anything.
_OF_BOXES = ("exact", "numeric", "math", "math_boxed")
_MAX_GAP = {"float32": 1e-3, "bfloat16": 0.05, "float16": 0.05}  # ours


@dataclasses.dataclass(frozen=True)
class ConsistencyConfig:
  """What is looked at before a run goes on, and how far it may differ."""

  enabled: bool = True
  # Whether the verifier is asked, too: about right answers and nonsense.
  tests_verifier: bool = True
  # Most nats per token, in the mean, between log-probs that should be equal;
  # 0 takes 0.001 for a model in float32 and 0.05 in lower precision.
  max_gap: float = 0.0

  def __post_init__(self):
    settings.require(
      self.max_gap >= 0,
      f"config.consistency.max_gap is {self.max_gap}: set it to 0 or more",
    )

  @property
  def asks_verifier(self) -> bool:
    return self.enabled and self.tests_verifier


class Finding(NamedTuple):
  """One thing that was looked at.

  Attributes:
    name: what was compared.
    found: how many, or how far apart.
    allowed: the most that `found` may be.
    unit: of both.
    remedy: what to do where it is more.
    example: of what differs, or "".
  """

  name: str
  found: float
  allowed: float
  unit: str
  remedy: str
  example: str = ""

  @property
  def is_good(self) -> bool:
    # Not a number is not good.
    return self.found <= self.allowed


def require(findings: Sequence[Finding]) -> None:
  """Refuses a run of which something does not agree.

  Raises:
    errors.UserError: with what it is, the remedy, and the whole table.
  """
  bad = next((x for x in findings if not x.is_good), None)
  if bad:
    example = f" ({bad.example})" if bad.example else ""
    raise errors.UserError(
      f"{bad.name}: {bad.found:.3g} {bad.unit}, and at most {bad.allowed:g} is"
      f" allowed{example}; {bad.remedy}, or set config.consistency.enabled to"
      f" False to go on all the same\n{table(findings)}"
    )


def table(findings: Sequence[Finding]) -> str:
  """All findings, a line each."""
  rows = [("", "found", "allowed", "")]
  for x in findings:
    verdict = "" if x.is_good else "<- not good"
    rows.append((x.name, f"{x.found:.2g} {x.unit}", f"{x.allowed:g}", verdict))
  return summary.aligned(rows)


def layout_gaps(
  params: Any,
  rollouts: records.RolloutBatch,
  *,
  model: transformer.Transformer,
  temperature: float,
  num_parts: int,
) -> dict[str, jax.Array]:
  """How far log-probs of the same tokens lie apart, f32[] nats per token.

  Args:
    params: that the rollouts were sampled with.
    rollouts: of which one of num_parts equal parts is looked at.
    model: the transformer.
    temperature: the sampler's.
    num_parts: that an update reads one after another.

  Returns:
    sampler: the sampler against the trainer, which reads a prompt once for all
      of its samples.
    alone: rows with a prompt of their own against the trainer.
    padded: more padding on both sides against the trainer.
  """
  devices = model.partition.num_row_parts if model.partition else 1
  untruncated = rollouts.sampler_logprobs + rollouts.log_kept_mass
  whole = parts_lib.Part(
    rollouts.prompts,
    rollouts.completion_tokens,
    {"completion_mask": rollouts.completion_mask, "logprobs": untruncated},
  )
  into = parts_lib.division(whole, num_parts, devices)
  part = jax.tree.map(lambda x: x[0], parts_lib.split(whole, into))
  mask, length = (
    part.fields["completion_mask"],
    whole.completion_tokens.shape[1],
  )

  def logprobs(prompts, completion_tokens) -> jax.Array:
    scores = scoring.score_completions(
      model, params, prompts, completion_tokens, temperature=temperature
    )
    return scores.logprobs[:, :length]

  samples = part.completion_tokens.shape[0] // part.prompts.prompt_ids.shape[0]
  bare = lambda tokens, mask: records.PromptBatch(
    prompt_tokens=tokens,
    prompt_mask=mask,
    prompt_ids=jnp.zeros(tokens.shape[0], jnp.int32),
    answers={},
  )
  tokens, real = part.prompts.prompt_tokens, part.prompts.prompt_mask
  repeat = lambda x: jnp.repeat(x, samples, axis=0)
  before = lambda x: jnp.pad(x, ((0, 0), (_MORE_PADS, 0)))
  after = lambda x: jnp.pad(x, ((0, 0), (0, _MORE_PADS)))
  trainer = logprobs(bare(tokens, real), part.completion_tokens)
  others = {
    "sampler": part.fields["logprobs"],
    "alone": logprobs(
      bare(repeat(tokens), repeat(real)), part.completion_tokens
    ),
    "padded": logprobs(
      bare(before(tokens), before(real)), after(part.completion_tokens)
    ),
  }
  return {
    name: masked.masked_mean(jnp.abs(other - trainer), mask).value()
    for name, other in others.items()
  }


def allowed_gap(max_gap: float, dtype: str) -> float:
  """The largest mean gap that counts as rounding, nats per token.

  Args:
    max_gap: of a ConsistencyConfig.
    dtype: that the model computes in.
  """
  return max_gap or _MAX_GAP[dtype]


def gap_findings(
  gaps: Mapping[str, float], config: ConsistencyConfig, dtype: Any
) -> list[Finding]:
  """Findings on `layout_gaps`, on the host."""
  allowed = allowed_gap(config.max_gap, jnp.dtype(dtype).name)
  settle = (
    "look for another temperature, truncation, set of weights or precision on"
    " one of the sides"
  )
  mend = "a layout must not change a log-prob: report this with your config"
  words = {
    "sampler": ("sampler against trainer", settle),
    "alone": ("a prompt for each row against a shared one", mend),
    "padded": ("more padding against less", mend),
  }
  return [
    Finding(told, float(gaps[name]), allowed, "nats a token", remedy)
    for name, (told, remedy) in words.items()
  ]


def text_findings(
  rows: np.ndarray, masks: np.ndarray, vocabulary: Any
) -> list[Finding]:
  """Whether prompts as texts survive the tokenizer.

  Token ids need not: a text has several spellings, of which a tokenizer takes
  one. What counts is that the text of that one is the same.

  Args:
    rows: i32[N, P] token ids.
    masks: f32[N, P].
    vocabulary: encodes and decodes.
  """
  lost = []
  for row, mask in zip(rows[:_NUM_TEXTS], masks[:_NUM_TEXTS], strict=True):
    text = vocabulary.text(row[mask > 0])
    again = vocabulary.text(vocabulary.encode(text))
    if again != text:
      lost.append(f"{text[-60:]!r} comes back as {again[-60:]!r}")
  return [
    Finding(
      "prompts that the tokenizer changes",
      len(lost),
      0,
      f"of {min(len(rows), _NUM_TEXTS)}",
      "take the tokenizer that belongs to the model, config.pretrained.folder",
      lost[0] if lost else "",
    )
  ]


def device_findings(
  judge: Callable[[records.RolloutBatch], jax.Array],
  demonstrations: records.RolloutBatch,
  vocabulary: Any,
) -> list[Finding]:
  """Whether a verifier on device knows right answers and nonsense.

  Args:
    judge: compiled, outcomes i32[B].
    demonstrations: right answers, most of them: some tasks have slips among
      theirs, to be unlearned.
    vocabulary: of both.
  """
  correct = records.OUTCOMES.index("correct")
  right = np.asarray(jax.device_get(judge(demonstrations))) == correct
  tokens = jax.device_get(demonstrations.completion_tokens)
  nothing = np.full_like(tokens, vocabulary.pad_id)
  nothing[:, 0] = vocabulary.eos_id
  # The first token over and over, and an end.
  babble = np.repeat(tokens[:, :1], tokens.shape[1], axis=1)
  babble[:, -1] = vocabulary.eos_id
  wrong = 0
  for other in (nothing, babble):
    place = demonstrations.completion_tokens.sharding
    changed = demonstrations.replace(completion_tokens=hosts.put(other, place))
    wrong += int(np.sum(jax.device_get(judge(changed)) == correct))
  text = lambda i: repr(vocabulary.decode(tokens[i]))
  missed = np.flatnonzero(~right)
  example = text(missed[0]) if missed.size else ""
  return [
    _refused(len(missed), len(right), example, allowed=len(right) // 2),
    _believed(wrong, 2 * len(right), ""),
  ]


def pool_findings(
  pool: pool_lib.Pool, verifier: str, golds: Sequence[str]
) -> list[Finding]:
  """Whether a verifier of texts knows right answers and nonsense.

  Args:
    pool: open.
    verifier: its name; of one that is not ours only nonsense is asked.
    golds: right answers.
  """
  golds = list(dict.fromkeys(golds))[:_NUM_TEXTS]
  missed = []
  if verifier in _OF_BOXES:
    found = pool.verify([(rf"\boxed{{{gold}}}", gold) for gold in golds])
    # Golds that cannot be read are told of by config.data.unread_golds.
    missed = [
      gold
      for gold, verdict in zip(golds, found, strict=True)
      if verdict.outcome != "correct"
      and verdict.outcome not in records.UNJUDGED
    ]
  items = [(text, gold) for gold in golds[:4] for text in _NONSENSE]
  wrong = [
    item
    for item, verdict in zip(items, pool.verify(items), strict=True)
    if verdict.outcome == "correct"
  ]
  asked = len(golds) if verifier in _OF_BOXES else 0
  return [
    _refused(len(missed), asked, repr(missed[0]) if missed else ""),
    _believed(len(wrong), len(items), repr(wrong[0]) if wrong else ""),
  ]


def _refused(number: int, asked: int, example: str, allowed=0) -> Finding:
  return Finding(
    "right answers that the verifier refuses",
    number,
    allowed,
    f"of {asked}",
    "config.data.verifier is not the one for these answers, or is wrong",
    example,
  )


def _believed(number: int, asked: int, example: str) -> Finding:
  return Finding(
    "nonsense that the verifier takes for right",
    number,
    0,
    f"of {asked}",
    "config.data.verifier rewards what is no answer: mend it",
    example,
  )


def golds_of(prompts: records.PromptBatch) -> list[str]:
  """Right answers of the first prompts, as texts."""
  rows = jax.device_get(prompts.answers[texts_lib.GOLD][: 4 * _NUM_TEXTS])
  return [texts_lib.text_of(row) for row in rows]


def weight_findings(params: Any) -> list[Finding]:
  """Whether devices that hold the same part of a parameter hold the same.

  All processes have to ask.
  """
  differ, compared = [], 0
  if jax.device_count() > 1:
    all_sums: dict[str, int] = {}
    for own in hosts.all_texts(json.dumps(_sums(params))):
      for name, value in json.loads(own):
        compared += name in all_sums
        if all_sums.setdefault(name, value) != value:
          differ.append(name)
  return [
    Finding(
      "parts of weights that devices hold in several versions",
      len(differ),
      0,
      f"of {compared}",
      "give all hosts the same files and start anew",
      differ[0] if differ else "",
    )
  ]


def _sums(params: Any) -> list[tuple[str, int]]:
  """Place and CRC-32 of every part of a parameter on this process's devices."""
  found = []
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    name = jax.tree_util.keystr(path, simple=True, separator=".")
    for shard in leaf.addressable_shards:
      data = np.ascontiguousarray(shard.data)
      place = [(x.start, x.stop) for x in shard.index]
      found.append((f"{name} {place}", zlib.crc32(data.view(np.uint8))))
  return found
