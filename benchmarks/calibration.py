"""How well a run's head knows the policy's accuracy, on uniform prompts.

python -m benchmarks.calibration --workdir=runs/p

Prompts that a run chose by its estimates are no fair sample of them: here
training prompts are drawn uniformly, and sampled from with the last policy.
"""

import json
import pathlib

from absl import app
from absl import flags
from absl import logging
import jax
import numpy as np

from benchmarks import runs
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import gather
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.metrics import calibration

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run.")
_NUM_PROMPTS = 512


def has_head(folder: pathlib.Path) -> bool:
  """Whether the run has a head that estimates accuracy before sampling."""
  experiment = experiment_lib.load(workdir_lib.read_config(folder))
  return experiment_lib.make_curriculum(experiment).head_estimates


def measure(folder: pathlib.Path, samples: int = 8) -> dict[str, float]:
  """Error, error beyond counting noise, rank correlation, mean accuracies."""
  experiment, _, programs = runs.opened(folder)
  run, state = experiment.run, runs.newest_state(folder, programs)
  prompts = gather.prompts_with_embeddings(run, programs, None, folder)
  pool = programs.pool(prompts, state.seed, state.step, _NUM_PROMPTS)
  measured, _ = programs.measure(state.params, state.seed, state.step, pool)
  head = experiment_lib.make_head(run)
  kappa = experiment.method.scalars["inv_temp"](state.step)
  estimates = head.accuracy(state.log_partition, pool, kappa)
  accuracy = np.asarray(measured.accuracy)
  clipped = np.clip(np.asarray(estimates), 0.0, 1.0)
  error = np.abs(clipped - accuracy)
  floor = np.asarray(calibration.counting_error(clipped, samples))
  rank = calibration.rank_correlation(
    estimates, measured.accuracy, jax.numpy.ones_like(estimates)
  )
  constant = np.abs(accuracy.mean() - accuracy)
  return {
    "error": float(error.mean()),
    "excess_error": float((error - floor).mean()),
    "error_of_the_mean": float(constant.mean()),
    "rank_correlation": float(rank),
    "mean_estimate": float(clipped.mean()),
    "mean_accuracy": float(accuracy.mean()),
    "mixed_groups": float(((accuracy > 0) & (accuracy < 1)).mean()),
  }


def main(argv):
  """Prints one JSON line."""
  del argv
  logging.set_verbosity(logging.ERROR)
  print(json.dumps(measure(pathlib.Path(_WORKDIR.value))))


if __name__ == "__main__":
  app.run(main)
