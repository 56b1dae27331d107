"""Verdicts on texts: rollouts out to a pool of verifiers, outcomes back.

A verifier of texts, see `rlvr_jax.verifiers`, works on the host: a step's
program is cut in two where its rollouts are judged.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import errors
from rlvr_jax import hosts
from rlvr_jax import names
from rlvr_jax import records
from rlvr_jax import settings
from rlvr_jax.data import tasks
from rlvr_jax.data import texts
from rlvr_jax.soundness import consistency
from rlvr_jax.verifiers import boxed
from rlvr_jax.verifiers import pool as pool_lib
from rlvr_jax.verifiers import worker

# Verdicts against a response, which may only have been cut off.
_WRONG = ("wrong", "unparsed")
# From rollouts to outcomes i32[B].
JudgeTexts = Callable[[records.RolloutBatch], Any]


def reads_texts(name: str) -> bool:
  """Whether a verifier of that name takes texts; else it runs on device.

  Raises:
    errors.UserError: if a user's own cannot be imported.
  """
  if ":" not in name:
    return name in worker.VERIFIERS
  function = names.resolve("config.data.verifier", name)
  return list(inspect.signature(function).parameters)[:2] == [
    "response",
    "gold",
  ]


def answer_reader(name: str) -> Callable[[str], str | None] | None:
  """What reads the answer in a response, for a vote; None on device.

  Args:
    name: config.data.verifier.
  """
  if not reads_texts(name):
    return None

  def answer(response: str) -> str | None:
    found = boxed.answer_text(response)
    return "".join(found.split()) if found else None

  return answer


@contextlib.contextmanager
def opened(
  data: tasks.DataConfig,
  config: pool_lib.PoolConfig,
  task: tasks.Task,
  is_tested: bool = True,
) -> Iterator[JudgeTexts | None]:
  """What judges a run's rollouts while the block lasts.

  Args:
    data: names the verifier.
    config: of its pool.
    task: whose vocabulary decodes completions.
    is_tested: on right answers and on nonsense, before it judges.

  Yields:
    None for a verifier on device.

  Raises:
    errors.UserError: if the verifier cannot be started, cannot read one of the
      task's answers, or does not know them.
  """
  name = data.verifier
  if not reads_texts(name):
    yield None
    return
  settings.require(
    bool(task.sources),
    f"config.data.verifier is {name!r}, which reads texts, but {data.name} has"
    " none: choose a verifier on device",
  )
  settings.require(
    config.verifier in (pool_lib.PoolConfig.verifier, name),
    f"config.verifier_pool.verifier is {config.verifier!r}, but"
    f" config.data.verifier {name!r}: leave the former out",
  )
  with pool_lib.Pool(dataclasses.replace(config, verifier=name)) as pool:
    if data.unread_golds == "error":
      check_golds(pool, task)
    if is_tested:
      golds = consistency.golds_of(task.train.prompts)
      consistency.require(consistency.pool_findings(pool, name, golds))
    yield lambda rollouts: judge(rollouts, pool, task.vocabulary)


def check_golds(pool: pool_lib.Pool, task: tasks.Task) -> None:
  """Makes sure that a verifier can read every answer of a task.

  Raises:
    errors.UserError: naming file and line of the first that it cannot.
  """
  for split, sources in task.sources.items():
    rows = np.asarray(getattr(task, split).prompts.answers[texts.GOLD])
    golds = [texts.text_of(row) for row in rows]
    # Integers are most of them, and what every verifier reads.
    unsure = [i for i, x in enumerate(golds) if not x.lstrip("-").isdigit()]
    unread = pool_lib.unread_golds(pool, [golds[i] for i in unsure])
    if unread:
      first = unsure[min(unread)]
      raise errors.UserError(
        f"{sources[first]} has the answer {golds[first]!r}, which the verifier"
        f" cannot read, as {len(unread)} of {len(golds)} do: mend or remove"
        " such rows, or set config.data.unread_golds to 'mask' to leave their"
        " responses out of the loss"
      )


def judge(
  rollouts: records.RolloutBatch, pool: pool_lib.Pool, vocabulary: Any
) -> jax.Array:
  """How each row ended, i32[B], an index into `records.OUTCOMES`.

  A response that was cut off is judged like others; unless it is right, it
  counts as "truncated".

  Args:
    rollouts: whose prompts have the answer texts.GOLD.
    pool: open.
    vocabulary: decodes completions.
  """
  if isinstance(rollouts.completion_tokens, jax.core.Tracer):
    # Only shapes are followed: there is nothing to judge.
    return jnp.zeros(rollouts.completion_tokens.shape[0], jnp.int32)
  rows = hosts.own_rows(
    (rollouts.completion_tokens, rollouts.completion_mask, rollouts.finished)
  )
  tokens, mask, finished = rows.values
  prompts = hosts.own_rows(rollouts.prompts.answers[texts.GOLD])
  golds = dict(
    zip(prompts.numbers, map(texts.text_of, prompts.values), strict=True)
  )
  num_rows = rollouts.finished.shape[0]
  samples = num_rows // rollouts.prompts.answers[texts.GOLD].shape[0]
  items = [
    (vocabulary.decode(row[real > 0]), golds[number // samples])
    for number, row, real in zip(rows.numbers, tokens, mask, strict=True)
  ]
  truncated = records.OUTCOMES.index("truncated")
  found = np.array(
    [records.OUTCOMES.index(x.outcome) for x in pool.verify(items)], np.int32
  )
  is_verdict = np.isin(found, [records.OUTCOMES.index(x) for x in _WRONG])
  found = np.where(is_verdict & (finished == 0), truncated, found)
  return hosts.from_rows(
    hosts.Rows(rows.numbers, found), num_rows, rollouts.finished.sharding
  )
