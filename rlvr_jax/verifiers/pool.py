"""Verdicts from killable processes: one deadline for each item.

A response can make a verifier run for ever, fill the memory or end the
process. Here that costs the one item: its worker is killed and replaced, its
outcome is "timeout" or "crash", never "wrong", and no other item waits longer
than for a free worker. Verdicts come in the order of the items and do not
depend on the number of workers.

Every worker is owned by a thread of its own, which starts it, feeds it one
item at a time and kills it.
"""

import collections
from collections.abc import Sequence
import contextlib
import dataclasses
import json
import queue
import threading
import time
from typing import Any, NamedTuple

from rlvr_jax import errors
from rlvr_jax import outcomes
from rlvr_jax import settings
from rlvr_jax.verifiers import child as child_lib
from rlvr_jax.verifiers import worker

_TAIL_CHARS = 60
_NUM_EXAMPLES = 3
_CLOSED = "the pool is closed: open a new one"


@dataclasses.dataclass(frozen=True)
class PoolConfig:
  """Settings of a pool.

  Raises:
    errors.UserError: naming the first field that is out of range.
  """

  # A short name of `worker.VERIFIERS`, or "module:function".
  verifier: str = "math"
  # Keywords of the verifier that differ from their defaults.
  options: dict | None = None
  num_workers: int = 4
  # For each item, from when a worker has it; starting a worker does not count.
  deadline_secs: float = 5.0
  # Address space of a worker, libraries included.
  memory_mib: int = 2048
  # Items after which a worker is replaced, since libraries keep what they see.
  recycle_after: int = 1000
  # Share of timeouts and crashes among the last so many verdicts that stops
  # the run; 1.0 never does.
  max_unjudged_frac: float = 0.05
  unjudged_window: int = 200

  def __post_init__(self):
    worker.path(self.verifier)
    for name in (
      "num_workers",
      "deadline_secs",
      "memory_mib",
      "recycle_after",
      "unjudged_window",
    ):
      value = getattr(self, name)
      settings.require(value > 0, f"{name} is {value}: set it above 0")
    settings.require(
      0.0 <= self.max_unjudged_frac <= 1.0,
      f"max_unjudged_frac is {self.max_unjudged_frac}: set it within 0 to 1",
    )
    try:
      json.dumps(self.options)
    except TypeError as error:
      raise errors.UserError(
        f"options is {self.options!r}, which no worker can be told ({error}):"
        " use numbers, texts and lists"
      ) from None


class Verdict(NamedTuple):
  """How one item ended.

  Example: Verdict("correct", 0.004, "1/2", "").

  Attributes:
    outcome: a name of `outcomes.OUTCOMES`.
    seconds: that the verifier took, or was given.
    answer: the part of the response that was judged; None if there is none.
    message: the reason of a timeout or crash; else "".
  """

  outcome: str
  seconds: float
  answer: str | None
  message: str


class Pool:
  """Workers that judge (response, gold) pairs.

  Example: with Pool(PoolConfig(num_workers=2)) as pool:
  pool.verify([(r"So \\boxed{0.5}.", "1/2")])[0].outcome is "correct".

  On leaving the context, on Ctrl-C and when this process dies in any way, no
  worker stays behind.
  """

  def __init__(self, config: PoolConfig):
    """Starts nothing yet."""
    self._config = config
    self._tasks: queue.SimpleQueue = queue.SimpleQueue()
    self._children: dict[int, child_lib.Child] = {}
    self._closing = False
    # Guards the two fields above: no worker is started after closing.
    self._lock = threading.Lock()
    self._one_caller = threading.Lock()
    size = config.unjudged_window
    self._recent: collections.deque = collections.deque(maxlen=size)

  def __enter__(self) -> "Pool":
    """Starts all workers and waits until they have imported the verifier.

    Raises:
      errors.UserError: if the verifier cannot be imported or bound, or the
        memory does not hold it.
    """
    started: queue.SimpleQueue = queue.SimpleQueue()
    self._threads = [
      threading.Thread(target=self._serve, args=(slot, started), daemon=True)
      for slot in range(self._config.num_workers)
    ]
    try:
      for thread in self._threads:
        thread.start()
      for _ in self._threads:
        error = started.get()
        if error is not None:
          raise error
    except BaseException:
      self._close()
      raise
    return self

  def __exit__(self, *error) -> None:
    self._close()

  def verify(self, items: Sequence[tuple[str, str]]) -> list[Verdict]:
    """Judges items.

    Args:
      items: (response, gold) texts.

    Returns:
      A verdict for each, in their order.

    Raises:
      errors.UserError: if timeouts and crashes exceed max_unjudged_frac, or
        the verifier itself is at fault.
    """
    with self._one_caller:
      settings.require(not self._closing, _CLOSED)
      verdicts: list[Any] = [None] * len(items)
      results: queue.SimpleQueue = queue.SimpleQueue()
      try:
        for index, item in enumerate(items):
          self._tasks.put((index, item, results))
        for _ in items:
          index, verdict = results.get()
          if isinstance(verdict, Exception):
            raise verdict
          verdicts[index] = verdict
          self._watch(items[index], verdict)
      except BaseException:
        # What a worker is busy with ends in a queue that nobody reads.
        _empty(self._tasks)
        raise
      return verdicts

  def _watch(self, item: tuple[str, str], verdict: Verdict) -> None:
    """Keeps count of what could not be judged; too much is an error."""
    config = self._config
    failed = verdict.outcome in ("timeout", "crash")
    self._recent.append(_example(item, verdict) if failed else None)
    examples = [example for example in self._recent if example]
    allowed = config.max_unjudged_frac * config.unjudged_window
    if len(self._recent) == config.unjudged_window and len(examples) > allowed:
      # Who goes on all the same is told again by a full window.
      self._recent.clear()
      raise errors.UserError(
        f"{len(examples)} of the last {config.unjudged_window} responses could"
        f" not be judged, more than max_unjudged_frac"
        f" {config.max_unjudged_frac} allows: raise deadline_secs or"
        " memory_mib, or mend what these have in common: "
        + "; ".join(examples[-_NUM_EXAMPLES:])
      )

  def _serve(self, slot: int, started: queue.SimpleQueue) -> None:
    """The life of the thread that owns the worker of a slot."""
    child = None
    try:
      child = self._start(slot)
      child.wait_ready()
    except Exception as error:
      started.put(error)
    else:
      started.put(None)
      child = self._work(slot, child)
    finally:
      if child is not None:
        child.close()

  def _work(self, slot: int, child: child_lib.Child) -> child_lib.Child:
    """Judges items until there is a None among them."""
    num_items = 0
    while (task := self._tasks.get()) is not None:
      index, (response, gold), results = task
      keep = False
      try:
        if not child.is_alive():
          child.close()
          child, num_items = self._start(slot), 0
        child.wait_ready()
        verdict, keep = self._judge(child, response, gold)
      except Exception as error:
        verdict = error
      results.put((index, verdict))
      num_items += 1
      if not keep or num_items >= self._config.recycle_after:
        child.close()
        # Here, so that its imports go on while nobody waits for them. If it
        # fails, the next item tries again, and tells.
        with contextlib.suppress(OSError, errors.UserError):
          child, num_items = self._start(slot), 0
    return child

  def _judge(
    self, child: child_lib.Child, response: str, gold: str
  ) -> tuple[Verdict, bool]:
    """The verdict on one item, and whether its worker may go on."""
    start = time.monotonic()
    limit = self._config.deadline_secs
    try:
      reply = child.ask({"response": response, "gold": gold}, start + limit)
    except child_lib.Overrun:
      took = time.monotonic() - start
      return Verdict("timeout", took, None, f"killed after {limit} s"), False
    except child_lib.Died as error:
      took = time.monotonic() - start
      return Verdict("crash", took, None, str(error)), False
    keep = not reply.pop("retire")
    return Verdict(**reply), keep

  def _start(self, slot: int) -> child_lib.Child:
    """A new worker for a slot.

    Raises:
      errors.UserError: if the pool is being closed.
    """
    config = self._config
    setup = {
      "verifier": config.verifier,
      "options": config.options or {},
      "memory_mib": config.memory_mib,
    }
    with self._lock:
      settings.require(not self._closing, _CLOSED)
      self._children[slot] = child_lib.Child(setup)
      return self._children[slot]

  def _close(self) -> None:
    with self._lock:
      self._closing = True
      children = list(self._children.values())
    for child in children:
      child.kill()
    for _ in self._threads:
      self._tasks.put(None)
    for thread in self._threads:
      if thread.is_alive():
        thread.join()


def check_golds(pool: Pool, golds: Sequence[str], where: str = "golds") -> None:
  """Makes sure that the verifier can read every gold of a data set.

  Args:
    pool: an open pool.
    golds: right answers, one a row.
    where: they come from, for the message.

  Raises:
    errors.UserError: naming the first row that it cannot read.
  """
  for row, outcome in unread_golds(pool, golds).items():
    raise errors.UserError(
      f"{where}[{row}] is {golds[row]!r}, which the verifier cannot read"
      f" ({outcome}): mend the row or leave it out"
    )


def unread_golds(pool: Pool, golds: Sequence[str]) -> dict[int, str]:
  """Rows of the golds that the verifier cannot judge by, with the outcome."""
  verdicts = pool.verify([(rf"\boxed{{{gold}}}", gold) for gold in golds])
  return {
    row: verdict.outcome
    for row, verdict in enumerate(verdicts)
    if verdict.outcome in outcomes.UNJUDGED
  }


def _empty(tasks: queue.SimpleQueue) -> None:
  try:
    while True:
      tasks.get_nowait()
  except queue.Empty:
    pass


def _example(item: tuple[str, str], verdict: Verdict) -> str:
  response, gold = item
  tail = response[-_TAIL_CHARS:]
  return f"{tail!r} for gold {gold!r}: {verdict.outcome} ({verdict.message})"
