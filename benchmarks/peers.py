"""The peers' virtual environments, from the package registry.

python -m benchmarks.peers FOLDER [trl] [tunix]

They are two because the peers want different releases of transformers, and
neither is ever a dependency of ours. Index and wheels are pip's own settings
(PIP_INDEX_URL, PIP_EXTRA_INDEX_URL): PyTorch's CPU wheels are enough without
an accelerator. With --cuda JAX is installed for NVIDIA's.
"""

import os
import pathlib
import subprocess
import sys
import venv

from absl import app
from absl import flags

_CUDA = flags.DEFINE_bool("cuda", False, "Install JAX for NVIDIA GPUs.")

# What the numbers were measured with.
PINS = {
  "trl": (
    "torch==2.13.0",
    "trl==1.16.0",
    "transformers==5.23.0",
    "accelerate==1.15.0",
    "tokenizers==0.23.3",
    "datasets==5.2.0",
    "math-verify==0.9.0",
  ),
  "tunix": (
    "google-tunix==0.1.7",
    "jax==0.10.2",
    "flax==0.12.8",
    "optax==0.2.8",
    "qwix==0.1.8",
    "transformers==5.12.1",
    "tokenizers==0.22.2",
  ),
}


def interpreter(folder: pathlib.Path, environment: str) -> pathlib.Path:
  """Where an environment's Python lies.

  Never resolved: its own name is what tells Python of the environment.
  """
  return folder.absolute() / environment / "bin" / "python"


def missing(folder: pathlib.Path, environment: str) -> str:
  """A sentence with the remedy where there is no such environment, else ""."""
  path = interpreter(folder, environment)
  if path.exists():
    return ""
  return (
    f"{path} is missing: make the environment with"
    f" `python -m benchmarks.peers {folder} {environment}`"
  )


def install(folder: pathlib.Path, environment: str, cuda: bool) -> None:
  """Makes an environment, or brings it to the pinned releases."""
  venv.create(folder / environment, with_pip=True)
  pins = list(PINS[environment])
  if cuda:
    pins = [x.replace("jax==", "jax[cuda13]==") for x in pins]
  python = interpreter(folder, environment)
  subprocess.run([python, "-m", "pip", "install", *pins], check=True)


def main(argv):
  """Makes the environments that are named; all without a name."""
  if len(argv) < 2:
    sys.exit("the folder is missing: python -m benchmarks.peers FOLDER")
  folder, names = pathlib.Path(argv[1]), argv[2:] or list(PINS)
  for name in names:
    if name not in PINS:
      sys.exit(f"environment {name!r}: choose one of {', '.join(PINS)}")
  os.makedirs(folder, exist_ok=True)
  for name in names:
    install(folder, name, _CUDA.value)


if __name__ == "__main__":
  app.run(main)
