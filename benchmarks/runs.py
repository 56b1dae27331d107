"""Training runs as processes, one folder each; done ones are kept."""

from collections.abc import Mapping
import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np

_DRAWS = 10_000


def train(
  folder: pathlib.Path,
  config: str,
  overrides: Mapping[str, Any],
  cache: pathlib.Path,
) -> pathlib.Path:
  """Trains, unless the folder holds a finished run; returns the folder.

  Args:
    folder: of the run; its log lies beside it.
    config: what follows --config=.
    overrides: values by name, such as {"optimizer.learning_rate": 1e-3}.
    cache: of compiled programs, shared by runs of the same shapes.
  """
  if (folder / "summary.json").exists():
    return folder
  command = [
    sys.executable,
    "-m",
    "rlvr_jax.train",
    f"--config={config}",
    f"--workdir={folder}",
    *(f"--config.{name}={value}" for name, value in overrides.items()),
  ]
  environment = os.environ | {
    "JAX_COMPILATION_CACHE_DIR": str(cache),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1",
  }
  log = folder.with_suffix(".log")
  log.parent.mkdir(parents=True, exist_ok=True)
  with open(log, "w", encoding="utf-8") as file:
    subprocess.run(
      command, check=True, stdout=file, stderr=file, env=environment
    )
  return folder


def interval(values: np.ndarray) -> tuple[float, float, float]:
  """Mean over seeds and a 95 % bootstrap interval of it."""
  rng = np.random.default_rng(0)
  values = np.asarray(values, float)
  draws = rng.integers(0, len(values), (_DRAWS, len(values)))
  low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
  return float(values.mean()), float(low), float(high)
