"""Whether all sides compute the same, before anything is timed.

python -m benchmarks.same DIR

PyTorch draws weights and writes down what it makes of fixed rollouts; the
others read the same weights and rollouts. Every tensor of the gradient of the
GRPO loss is compared. TRL has PyTorch's own model, so it is not asked.
"""

from collections.abc import Sequence
import json
import pathlib
import sys
import tempfile

from absl import app

from benchmarks import processes

# In float32; sums in another order differ by less.
LARGEST_LOGPROB = 1e-5
LARGEST_GRADIENT = 1e-4


def differences(
  environments: pathlib.Path, size: str = "S", sides: Sequence[str] = ("ours",)
) -> dict[str, dict[str, float]]:
  """What `sides.agreement` says of each side; ours always among them."""
  named = dict.fromkeys(["ours", *(x for x in sides if x in processes.SAME)])
  found = {}
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    given = [f"--size={size}", f"--file={folder / 'oracle.npz'}"]
    processes.run(processes.ORACLE, given, environments, folder / "oracle.log")
    for side in named:
      found[side] = processes.report(
        processes.SAME[side], given, environments, folder / f"{side}.json"
      )
  return found


def disagreements(found: dict[str, dict[str, float]]) -> list[str]:
  """A sentence for each side that is too far from PyTorch."""
  return [
    f"{side} does not compute what PyTorch does: log-probabilities differ by"
    f" {x['logprobs']:.1e} (at most {LARGEST_LOGPROB:.0e}), the gradient by"
    f" {x['gradient']:.1e}, one tensor by {x['worst_tensor']:.1e} (at most"
    f" {LARGEST_GRADIENT:.0e})"
    for side, x in found.items()
    if not (
      x["logprobs"] <= LARGEST_LOGPROB
      and x["gradient"] <= LARGEST_GRADIENT
      and x["worst_tensor"] <= LARGEST_GRADIENT
    )
  ]


def main(argv):
  """Compares and prints; status 1 where a side disagrees."""
  if len(argv) != 2:
    sys.exit("the folder of benchmarks.peers is missing, or more is given")
  folder = pathlib.Path(argv[1])
  if sentences := processes.missing(["trl", "tunix"], folder):
    sys.exit("\n".join(sentences))
  found = differences(folder, "S", ["ours", "tunix"])
  print(json.dumps(found, indent=1))
  if sentences := disagreements(found):
    sys.exit("\n".join(sentences))


if __name__ == "__main__":
  app.run(main)
