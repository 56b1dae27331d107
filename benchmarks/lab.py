"""A step of each of many runs in the lab, beside runs one at a time.

python -m benchmarks.peers DIR
python -m benchmarks.lab --size Q --peers trl tunix --environments DIR

The lab trains 8 seeds in one program; our host's loop, TRL and Tunix train one
run, so that 8 of them take 8 times as long. What is compared is the time of a
step of one run, after what compiles; shapes are those of `workload`, at the
quickstart's size (Q) and at S. Sides run one at a time, in turn, each round in
the other order, and wait for an idle machine.

The limit is the time of a step's least operations (`flops`) at the best speed
of plain matrix products in the process of our host's loop: whoever computes
them in float32 takes longer.
"""

import argparse
import functools
import pathlib

from benchmarks import flops
from benchmarks import machine
from benchmarks import measurement
from benchmarks import processes
from benchmarks import rl_report
from benchmarks import tables
from benchmarks import workload
from benchmarks.sides import lab_runs
from rlvr_jax import summary as summary_lib

_OURS = {
  kind: processes.Side("lab_runs", arguments=(f"--kind={kind}",))
  for kind in (lab_runs.LAB, lab_runs.HOST)
}
_PEERS = ("trl", "tunix")


def arguments() -> argparse.ArgumentParser:
  """Flags of the program."""
  flags = measurement.parser(
    __doc__, rounds=2, file="benchmarks/results/lab.json"
  )
  number = functools.partial(measurement.integer, flags)
  flags.add_argument("--size", choices=list(workload.SIZES), default="Q")
  flags.add_argument(
    "--peers",
    nargs="*",
    choices=_PEERS,
    default=[],
    help="libraries beside ours",
  )
  number("--steps", 24, "steps of a run; TRL and Tunix take half of them")
  number("--seeds", 8, "runs of the lab")
  number("--micro-batches", 4, "passes of our updates; the peers take one")
  flags.add_argument("--over", default="map", help="map or vmap, of the lab")
  flags.add_argument(
    "--environments",
    type=pathlib.Path,
    help="folder of benchmarks.peers",
  )
  flags.add_argument(
    "--wait-secs",
    type=float,
    default=300.0,
    help="longest wait for an idle machine before each run (300)",
  )
  flags.add_argument(
    "--folder",
    type=pathlib.Path,
    default=pathlib.Path("runs/bench_lab"),
    help="where each run's report and log lie (runs/bench_lab)",
  )
  return flags


def run_rounds(args: argparse.Namespace) -> dict[str, list[dict]]:
  """The reports of all sides, round by round."""
  sides = _OURS | {name: processes.SIDES[name] for name in args.peers}
  reports = {name: [] for name in sides}
  for number, order in enumerate(measurement.orders([*sides], args.rounds)):
    for name in order:
      load = machine.wait_until_idle(args.wait_secs)
      if sentence := machine.warning(load):
        print(f"before {name}: {sentence}", flush=True)
      given = [f"--size={args.size}"]
      if name in _OURS:
        given += [f"--steps={args.steps}", f"--seeds={args.seeds}"]
        given += [
          f"--micro-batches={args.micro_batches}",
          f"--over={args.over}",
        ]
      else:
        given += [f"--steps={args.steps // 2}"]
      found = processes.report(
        sides[name],
        given,
        args.environments,
        args.folder / f"{name}_{number}.json",
      )
      reports[name].append(found)
      step = found["seconds"]["step"]
      print(f"round {number + 1}, {name}: {step:.4f} s", flush=True)
  return reports


def main() -> None:
  """Times and reports."""
  args = arguments().parse_args()
  if args.peers:
    if args.environments is None:
      raise SystemExit(
        "--environments is missing: give the folder of `python -m"
        " benchmarks.peers FOLDER`"
      )
    if sentences := processes.missing(args.peers, args.environments):
      raise SystemExit("\n".join(sentences))
  args.folder.mkdir(parents=True, exist_ok=True)
  reports = run_rounds(args)
  secs = {
    name: tables.quartiles(rl_report.pooled(found, "step"))
    for name, found in reports.items()
  }
  base = secs[lab_runs.LAB][1]
  operations = flops.step_flops(workload.SIZES[args.size])["step"]
  peak = max(x["matmul_flops_per_s"] for x in reports[lab_runs.HOST])
  limit = operations / peak
  rows = [
    [
      name,
      f"{middle:.4f} [{low:.4f}, {high:.4f}]",
      f"{middle / base:.2f}",
      f"{limit / middle:.0%}",
    ]
    for name, (low, middle, high) in secs.items()
  ]
  head = ["side", "seconds of a run's step", "x the lab's", "of the limit"]
  print(summary_lib.markdown(head, rows))
  print(
    f"\nA step is {operations / 1e9:.2f} GFLOP; at the {peak / 1e9:.0f} GFLOP/s"
    f" of plain matrix products it takes {limit:.4f} s."
  )
  loads = [
    x["machine"]["other_load_cpus"] or 0.0 for y in reports.values() for x in y
  ]
  told = ("size", "steps", "rounds", "seeds", "micro_batches", "over")
  measurement.append(
    args.json,
    {
      **measurement.occasion(reports[lab_runs.LAB][0]["device"]),
      **{name: getattr(args, name) for name in told},
      "seconds": secs,
      "flops": operations,
      "matmul_flops_per_s": peak,
      "limit_secs": limit,
      "against_lab": {name: x[1] / base for name, x in secs.items()},
      "other_load_cpus": max(loads),
      "versions": {
        name: found[0]["versions"] for name, found in reports.items()
      },
    },
  )


if __name__ == "__main__":
  main()
