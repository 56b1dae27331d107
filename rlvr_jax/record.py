"""What a run writes down: metrics, samples and times of every step."""

from collections.abc import Mapping, Sequence
import pathlib
import time
from typing import Any

import jax

from rlvr_jax import boards as boards_lib
from rlvr_jax import errors
from rlvr_jax import evaluation
from rlvr_jax import hosts
from rlvr_jax import verbalization
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.metrics import epistemic
from rlvr_jax.metrics import writers
from rlvr_jax.soundness import numerics


class Clock:
  """Seconds of the phases of one step, by name."""

  def __init__(self):
    self.secs: dict[str, float] = {}
    self._last = time.perf_counter()

  def lap(self, name: str) -> None:
    """Books the time since the last lap under the name."""
    now = time.perf_counter()
    self.secs[name] = now - self._last
    self._last = now

  def wait(self, name: str, metrics: dict[str, jax.Array]) -> dict[str, float]:
    """Fetches metrics, which waits for their program, and books the time."""
    fetched = {k: float(v) for k, v in jax.device_get(metrics).items()}
    self.lap(name)
    return fetched


def lines_file(
  path: pathlib.Path, last_step: int
) -> writers.JsonLines | writers.NoLines:
  """A file of lines, of which the first process keeps the only copy."""
  if not hosts.is_first():
    return writers.NoLines()
  return writers.JsonLines(path, last_step)


class Record:
  """The files of a run: metrics, samples and times of every step."""

  def __init__(
    self,
    folder: pathlib.Path,
    first_step: int,
    boards: boards_lib.Boards | None = None,
  ):
    """Goes on after `first_step`; later lines are dropped.

    Args:
      folder: of the run.
      first_step: of the checkpoint that it goes on from; 0 at the start.
      boards: that show what is recorded; closed with the record.
    """
    last = first_step or -1
    lines = [
      line
      for line in writers.read_lines(folder / workdir_lib.METRICS)
      if line["step"] <= last
    ]
    if first_step and (not lines or lines[-1]["step"] != first_step):
      raise errors.UserError(
        f"{folder / workdir_lib.METRICS} does not reach step {first_step}, the"
        " step of the newest checkpoint: put the file back, or start anew in"
        " another folder"
      )
    self.skipped_in_a_row = numerics.skipped_in_a_row(lines)
    self.total_tokens = lines[-1]["rollout/total_tokens"] if lines else 0
    self.folder = folder
    self._boards = boards or boards_lib.Boards()
    self._metrics = lines_file(folder / workdir_lib.METRICS, last)
    self._samples = lines_file(folder / workdir_lib.SAMPLES, last)
    self._tokens = lines_file(folder / workdir_lib.TOKENS, last)
    self._timing = lines_file(folder / workdir_lib.TIMING, last)
    self._reward = self._pass_at_1 = self._tokens_per_sec = 0.0
    # Of step 0, which later ones are compared with.
    first = lines[0] if lines else {}
    self._first_gap = first.get("ood_minus_id")
    self._first_words = {
      suite: {
        k.removeprefix(f"{suite}_words/"): v
        for k, v in first.items()
        if k.startswith(f"{suite}_words/")
      }
      for suite in ("eval", "ood")
      if first
    }

  def __enter__(self) -> "Record":
    return self

  def __exit__(self, *error) -> None:
    for file in (self._metrics, self._samples, self._tokens, self._timing):
      file.close()
    self._boards.close()

  def write(
    self,
    step: int,
    metrics: dict[str, float],
    evaluated: dict[str, evaluation.Evaluation],
    secs: dict[str, float],
    tokens: Sequence[Mapping[str, Any]] = (),
  ) -> None:
    """Books one step.

    Args:
      step: of the run.
      metrics: of the step.
      evaluated: what was evaluated at it, by name.
      secs: wall-clock times by name.
      tokens: lines of `token_columns`.
    """
    generated = int(metrics.get("rollout/tokens", 0))
    self.total_tokens += generated
    self.total_tokens += int(metrics.get("rollout/probe_tokens", 0))
    line = {"step": step} | dict(sorted(metrics.items()))
    line["rollout/total_tokens"] = self.total_tokens
    for suite, found in evaluated.items():
      line |= {f"{suite}/{k}": v for k, v in found.metrics.items()}
      words = found.words | epistemic.delta_vs_step0(
        found.words, self._first_words.setdefault(suite, found.words)
      )
      line |= {f"{suite}_words/{k}": v for k, v in words.items()}
    if "eval" in evaluated:
      self._pass_at_1 = line["eval/pass_at_1"]
      for sample in evaluated["eval"].samples:
        self._samples.write({"step": step} | sample)
    if "ood" in evaluated:
      gap = line["ood/pass_at_1"] - line["eval/pass_at_1"]
      line["ood_minus_id"] = gap
      self._first_gap = gap if self._first_gap is None else self._first_gap
      line["ood_minus_id_vs_step0"] = gap - self._first_gap
    self.skipped_in_a_row = numerics.skipped_in_a_row([line]) and (
      self.skipped_in_a_row + 1
    )
    for row in tokens:
      self._tokens.write({"step": step} | row)
    self._metrics.write(line)
    self._timing.write({"step": step} | secs)
    self._boards.write(line | {f"timing/{k}": v for k, v in secs.items()})
    self._reward = metrics.get("train/reward", 0.0)
    busy = secs.get("rollout_secs", 0.0) + secs.get("update_secs", 0.0)
    self._tokens_per_sec = generated / busy if busy else 0.0

  def sync(self) -> None:
    """Makes the record survive a power cut; before every checkpoint."""
    self._metrics.sync()
    self._samples.sync()
    self._tokens.sync()

  def warning(self, config: verbalization.EpistemicConfig | None) -> str | None:
    """What to say if no response of step 0 holds a marker."""
    words = self._first_words.get("eval", {})
    return epistemic.marker_warning(words, config.markers) if config else None

  def headline(self) -> str:
    """The numbers that the progress line shows."""
    return (
      f"reward {self._reward:.2f} · held-out pass@1 {self._pass_at_1:.3f}"
      f" · {self._tokens_per_sec / 1000:.0f}k tokens/s"
    )
