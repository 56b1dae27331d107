"""What programs that measure share: flags, turns, records.

A program adds its flags to `parser`, lets the kinds that it compares take
turns, and adds a `record` to a list of them. Quartiles and tables are in
`tables`, the machine's load and memory in `machine`.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
import functools
import json
import os
import pathlib
import time
from typing import Any

import jax
import numpy as np

from benchmarks import machine
from benchmarks.sides import side

# Whose versions a record tells.
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def parser(
  doc: str, *, rounds: int | None = None, file: str = "", dtype: bool = False
) -> argparse.ArgumentParser:
  """Flags of every program; a program may add its own.

  Args:
    doc: of its module.
    rounds: default of --rounds; None for a program without.
    file: default of --json.
    dtype: whether the program has --dtype.
  """
  flags = argparse.ArgumentParser(
    description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  if rounds is not None:
    integer(flags, "--rounds", rounds, "turns of each kind")
  if dtype:
    side.add_dtype(flags)
  flags.add_argument(
    "--json", default=file, help="list that the result joins; empty: nowhere"
  )
  return flags


def integer(
  flags: argparse.ArgumentParser,
  name: str,
  default: int | None,
  text: str,
  least: int = 1,
) -> None:
  """Adds a flag for a whole number; without a default it may be left out."""

  def number(value: str) -> int:
    if int(value) < least:
      raise argparse.ArgumentTypeError(f"{value} is below {least}")
    return int(value)

  shown = "" if default is None else f" ({default})"
  flags.add_argument(name, type=number, default=default, help=text + shown)


def orders(names: Sequence[Any], rounds: int) -> Iterator[Sequence[Any]]:
  """The names once a round, in every other round from the end.

  So none always follows the same one.
  """
  for number in range(rounds):
    yield names[::-1] if number % 2 else names


def in_turn(
  kinds: Mapping[Any, Callable[[], Any]], rounds: int, uncounted: int = 1
) -> dict[Any, np.ndarray]:
  """What each kind's calls return, [rounds, ...]; the first rounds left out."""
  found = {name: [] for name in kinds}
  # After one round that is not counted, they go in the order given.
  for names in orders([*kinds][::-1], uncounted + rounds):
    for name in names:
      found[name].append(kinds[name]())
  return {name: np.array(x[uncounted:]) for name, x in found.items()}


def secs_of(run: Callable[[], Any]) -> float:
  """Seconds of a call, until the device has done all of it."""
  started = time.perf_counter()
  jax.block_until_ready(run())
  return time.perf_counter() - started


def interleaved(
  kinds: Mapping[Any, Callable[[], Any]], rounds: int
) -> dict[Any, np.ndarray]:
  """Seconds of each call, f64[rounds]; a first round of all is not counted."""
  timed = {k: functools.partial(secs_of, run) for k, run in kinds.items()}
  return in_turn(timed, rounds)


def occasion(device: str) -> dict[str, Any]:
  """When a measurement was made, and on what."""
  return {
    "date": time.strftime("%Y-%m-%d"),
    "device": device,
    "machine": machine.description(),
  }


def record(
  args: argparse.Namespace, started: machine.Look, **results: Any
) -> dict[str, Any]:
  """Results, and what they were measured on; others' load is warned of."""
  load = machine.other_load(started)
  if sentence := machine.warning(load):
    print(sentence)
  return {
    **occasion(jax.devices()[0].device_kind),
    "versions": machine.versions(PACKAGES),
    "other_cpus": load,
    "flags": {k: v for k, v in vars(args).items() if k != "json"},
    **results,
  }


def write(file: str | os.PathLike, value: Any) -> None:
  """Writes JSON, or leaves the old file if killed; "" for nowhere."""
  if not os.fspath(file):
    return
  path = pathlib.Path(file)
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_suffix(".part")
  part.write_text(json.dumps(value, indent=1) + "\n")
  os.replace(part, path)


def append(file: str | os.PathLike, found: Mapping[str, Any]) -> None:
  """Adds a record to the list in a file; "" for nowhere.

  A record that lies there alone becomes the first of the list.
  """
  if not os.fspath(file):
    return
  path = pathlib.Path(file)
  held = json.loads(path.read_text()) if path.exists() else []
  write(path, [*(held if isinstance(held, list) else [held]), found])
