"""Flags, turns and records."""

import json

import pytest

from benchmarks import machine
from benchmarks import measurement


def test_results_join_a_list(tmp_path):
  path = tmp_path / "results" / "rl_step.json"
  measurement.append(path, {"size": "S"})
  measurement.append(path, {"size": "M"})
  assert json.loads(path.read_text()) == [{"size": "S"}, {"size": "M"}]
  assert [x.name for x in path.parent.iterdir()] == [path.name]


def test_every_kind_takes_its_turn_in_both_orders():
  calls = []
  secs = measurement.interleaved(
    {x: lambda x=x: calls.append(x) for x in "ab"}, rounds=2
  )
  assert "".join(calls) == "baabba"
  assert {name: x.shape for name, x in secs.items()} == {"a": (2,), "b": (2,)}


def test_a_record_that_lies_alone_becomes_the_first_of_a_list(tmp_path):
  path = tmp_path / "teacher_cost.json"
  measurement.write(path, {"rows": 1})
  assert json.loads(path.read_text()) == {"rows": 1}
  measurement.append(path, {"rows": 2})
  assert json.loads(path.read_text()) == [{"rows": 1}, {"rows": 2}]


def test_no_file_is_written_without_a_name(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  measurement.append("", {"size": "S"})
  assert not list(tmp_path.iterdir())


def test_the_first_rounds_are_left_out():
  calls = iter(range(10))
  found = measurement.in_turn({"a": lambda: (next(calls), 0)}, 2, uncounted=3)
  assert found["a"].tolist() == [[3, 0], [4, 0]]


def test_whole_numbers_have_a_least():
  flags = measurement.parser("A program.", rounds=7, dtype=True)
  measurement.integer(flags, "--values", 4, "of each size", least=2)
  measurement.integer(flags, "--passes", None, "of an update")
  args = flags.parse_args(["--values", "2"])
  assert (args.rounds, args.values, args.passes) == (7, 2, None)
  assert (args.dtype, args.json) == ("auto", "")
  for given in ("--values=1", "--rounds=0", "--passes=half"):
    with pytest.raises(SystemExit):
      flags.parse_args([given])


def test_a_record_says_what_was_asked_for_and_not_where_it_was_written():
  args = measurement.parser("A program.", rounds=7).parse_args([])
  found = measurement.record(args, machine.look(), secs=[1.0])
  assert found["flags"] == {"rounds": 7}
  assert found["secs"] == [1.0]
  assert {"date", "device", "machine", "versions", "other_cpus"} < found.keys()
