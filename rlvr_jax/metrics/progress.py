"""One live line that says what a run is doing and when it will be done."""

import sys
import time
from typing import TextIO


class Progress:
  """A line that redraws itself on a terminal, and log lines elsewhere.

  Example: "rl 75/150 · ETA 11s · reward 0.53 · 61k tokens/s".
  """

  def __init__(
    self,
    stream: TextIO | None = None,
    log_every_secs: float = 5.0,
    is_silent: bool = False,
  ):
    """Writes to a stream; a silent one to nowhere, for other processes."""
    self._is_silent = is_silent
    self._stream = stream or sys.stderr
    self._live = self._stream.isatty()
    self._log_every_secs = log_every_secs
    self._phase = ""
    self._first_step = 0
    self._started = self._shown = time.monotonic()
    self._width = 0

  def update(self, phase: str, step: int, last_step: int, text: str) -> None:
    """Shows that `step` of `last_step` is done; cheap enough for each step."""
    if self._is_silent:
      return
    now = time.monotonic()
    if phase != self._phase:
      self._phase, self._first_step, self._started = phase, step, now
      self._shown = float("-inf")
    done = step - self._first_step
    eta = ""
    if done > 0 and step < last_step:
      secs = (now - self._started) / done * (last_step - step)
      eta = f" · ETA {secs:.0f}s"
    line = f"{phase} {step}/{last_step}{eta} · {text}"
    if self._live:
      self._stream.write("\r" + line.ljust(self._width))
      self._stream.flush()
      self._width = len(line)
    elif now - self._shown >= self._log_every_secs or step == last_step:
      self._stream.write(line + "\n")
      self._stream.flush()
      self._shown = now

  def say(self, text: str) -> None:
    """Prints a line of its own above the live line."""
    if self._is_silent:
      return
    if self._live and self._width:
      self._stream.write("\r" + " " * self._width + "\r")
      self._width = 0
    self._stream.write(text + "\n")
    self._stream.flush()
