"""One live line that says what a run is doing and when it will be done."""

from collections.abc import Callable
import contextlib
import functools
import shutil
import sys
import threading
import time
from typing import Any, TextIO

# What takes longer is named, and named again each time it has taken twice as
# long.
_PATIENCE_SECS = 30.0
_LOOK_EVERY_SECS = 1.0


class Progress:
  """A line that redraws itself on a terminal, and log lines elsewhere.

  Example: "training 75/150 · ETA 11s · reward 0.53 · 61k tokens/s · waited 4%
  for verdicts · saved 40s ago". Where nothing has moved for 30 seconds, it says
  what the run waits for. Close it, or use it in `with`.
  """

  def __init__(
    self,
    stream: TextIO | None = None,
    log_every_secs: float = 5.0,
    is_silent: bool = False,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Writes to a stream; a silent one to nowhere, for other processes."""
    self._is_silent = is_silent
    self._stream = stream or sys.stderr
    self._live = self._stream.isatty()
    self._log_every_secs = log_every_secs
    self._clock = clock
    self._phase = ""
    self._first_step = 0
    self._started = self._shown = clock()
    self._line = ""
    # Seconds by what a function of `timed` was waited for, in this phase.
    self._waited: dict[str, float] = {}
    self._saved: float | None = None
    # What goes on, since when, and how long before it is named.
    self._activity, self._since, self._patience = "", clock(), _PATIENCE_SECS
    # The watching thread writes, too.
    self._lock = threading.RLock()
    self._closed = threading.Event()

  def __enter__(self) -> "Progress":
    if not self._is_silent:
      threading.Thread(target=self._watch, daemon=True).start()
    return self

  def __exit__(self, *error) -> None:
    self._closed.set()

  def update(self, phase: str, step: int, last_step: int, text: str) -> None:
    """Shows that `step` of `last_step` is done; cheap enough for each step."""
    if self._is_silent:
      return
    with self._lock:
      now = self._clock()
      if phase != self._phase:
        self._phase, self._first_step, self._started = phase, step, now
        self._shown, self._waited = float("-inf"), {}
      parts = [f"{phase} {step}/{last_step}"]
      done = step - self._first_step
      if done > 0 and step < last_step:
        left = (now - self._started) / done * (last_step - step)
        parts.append(f"ETA {duration(left)}")
      parts += [text, *self._waits(now)]
      if self._saved is not None:
        parts.append(f"saved {duration(now - self._saved)} ago")
      line = " · ".join(part for part in parts if part)
      if self._live:
        self._draw(line)
      elif now - self._shown >= self._log_every_secs or step == last_step:
        self._print(line)
        self._shown = now
      self._begin("")

  def say(self, text: str) -> None:
    """Prints a line of its own above the live line."""
    if self._is_silent:
      return
    with self._lock:
      if self._live and self._line:
        self._draw("")
        self._stream.write("\r")
      self._print(text)

  def now(self, activity: str) -> None:
    """Notes what goes on from here, such as "sampling"."""
    with self._lock:
      self._begin(activity)

  def timed(
    self, what: str, function: Callable[..., Any]
  ) -> Callable[..., Any]:
    """The function, of which is told how long the run waits for it."""

    @functools.wraps(function)
    def call(*args):
      before, start = self._activity, self._clock()
      self.now(what)
      try:
        return function(*args)
      finally:
        secs = self._clock() - start
        self._waited[what] = self._waited.get(what, 0.0) + secs
        self.now(before)

    return call

  def saved(self) -> None:
    """Notes that a checkpoint has been written."""
    self._saved = self._clock()

  def look(self) -> None:
    """Says what the run waits for, if it has for long."""
    with self._lock:
      secs = self._clock() - self._since
      if not self._activity or secs < self._patience:
        return
      text = f"waiting for {self._activity}, {duration(secs)} so far"
      if self._live:
        self._draw(text)
      else:
        self._print(text)
        self._patience *= 2

  def _watch(self) -> None:
    while not self._closed.wait(_LOOK_EVERY_SECS):
      # A stream that is gone is no reason to end the run.
      with contextlib.suppress(OSError, ValueError):
        self.look()

  def _begin(self, activity: str) -> None:
    self._activity, self._since = activity, self._clock()
    self._patience = _PATIENCE_SECS

  def _waits(self, now: float) -> list[str]:
    passed = now - self._started
    return [
      f"waited {secs / passed:.0%} for {what}"
      for what, secs in self._waited.items()
      if passed > 0
    ]

  def _draw(self, line: str) -> None:
    """Puts a line over the one before, if need be without its end."""
    line = line[: shutil.get_terminal_size().columns - 1]
    self._stream.write("\r" + line.ljust(len(self._line)))
    self._stream.flush()
    self._line = line

  def _print(self, line: str) -> None:
    self._stream.write(line + "\n")
    self._stream.flush()


def duration(secs: float) -> str:
  """A time as people say it: "42s", "3m 20s", "2h 05m"."""
  minutes, rest = divmod(round(secs), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours}h {minutes:02}m"
  return f"{minutes}m {rest:02}s" if minutes else f"{rest}s"
