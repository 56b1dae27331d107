"""How far a side's numbers are from those of `sides.torch_oracle`."""

import argparse
import json
import pathlib

import numpy as np

from benchmarks.sides import side


def arguments(description: str) -> argparse.Namespace:
  """A side's flags, and the oracle's file."""
  flags = side.parser(description)
  flags.add_argument("--file", required=True, help="of torch_oracle")
  return flags.parse_args()


def write(args: argparse.Namespace, found: dict[str, float]) -> None:
  """Writes differences as JSON."""
  pathlib.Path(args.json).write_text(json.dumps(found) + "\n")


def differences(
  oracle, logprobs: np.ndarray, gradient: dict[str, np.ndarray]
) -> dict[str, float]:
  """How far a side is from the file of `sides.torch_oracle`.

  Args:
    oracle: the file's arrays by name.
    logprobs: f32[B, T] of its completions.
    gradient: by transformers' names, in their shapes.

  Returns:
    The largest absolute difference of a log-probability, the norm of the
    gradient's difference over the norm of the gradient, and the largest such
    ratio of one tensor.
  """
  norm = lambda arrays: float(np.sqrt(sum(np.sum(x**2) for x in arrays)))
  right = {name: oracle[f"gradient/{name}"] for name in gradient}
  apart = {name: gradient[name] - right[name] for name in gradient}
  return {
    "logprobs": float(np.max(np.abs(logprobs - oracle["logprobs"]))),
    "gradient": norm(apart.values()) / norm(right.values()),
    "worst_tensor": max(
      norm([apart[name]]) / norm([right[name]]) for name in gradient
    ),
    "tensors": len(gradient),
  }
