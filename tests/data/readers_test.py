"""Rows of files: what was written is what is read, and damage is named."""

import gzip
import json

import pyarrow
from pyarrow import parquet
import pytest

from rlvr_jax import errors
from rlvr_jax.data import readers
from tests.data import absent

_ROWS = [
  {"question": "1+1?", "answer": 2},
  {"question": "√2 🙂", "answer": "1.41", "more": {"a": [1, None]}},
]


def _file(folder, name, content):
  path = folder / name
  raw = content if isinstance(content, bytes) else content.encode()
  path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
  return path


def _lines(rows):
  return "".join(json.dumps(row) + "\n" for row in rows)


def _table(folder, rows, name="rows.parquet"):
  path = folder / name
  parquet.write_table(pyarrow.Table.from_pylist(rows), path)
  return path


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize(
  "kind, write", [("jsonl", _lines), ("json", json.dumps)]
)
def test_rows_come_back_with_their_lines(tmp_path, kind, write, end):
  path = _file(tmp_path, f"rows.{kind}{end}", write(_ROWS))
  assert list(readers.read(path)) == [
    (f"{path}:1", _ROWS[0]),
    (f"{path}:2", _ROWS[1]),
  ]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_empty_lines_count_and_a_byte_order_mark_does_not(tmp_path, name):
  text = "\ufeff" + json.dumps(_ROWS[0]) + "\r\n\n  \n" + json.dumps(_ROWS[1])
  path = _file(tmp_path, name, text)
  assert [source for source, _ in readers.read(path)] == [
    f"{path}:1",
    f"{path}:4",
  ]


def test_a_parquet_file_gives_nested_rows_and_only_the_columns_wanted(tmp_path):
  rows = [
    {
      "prompt": [{"role": "user", "content": f"{i}?"}],
      "reward_model": {"ground_truth": str(i), "style": "rule"},
      "index": i,
    }
    for i in range(5000)
  ]
  path = _table(tmp_path, rows)
  assert [row for _, row in readers.read(path)] == rows
  found = list(readers.read(path, ("prompt", "reward_model.ground_truth")))
  assert found[4999] == (
    f"{path}:5000",
    {name: rows[4999][name] for name in ("prompt", "reward_model")},
  )


def test_reading_is_lazy(tmp_path):
  path = _file(tmp_path, "rows.jsonl", _lines(_ROWS) + "{")
  rows = readers.read(path)
  assert [next(rows)[1], next(rows)[1]] == _ROWS
  with pytest.raises(errors.UserError, match="rows.jsonl:3 is not JSON"):
    next(rows)


@pytest.mark.parametrize(
  "name, content, message",
  [
    ("a.csv", "x", r"a.csv is of no known kind: name a .jsonl"),
    ("a.gz", "x", "a.gz is of no known kind"),
    ("a.jsonl", '{"a": 1}\n{"a": }\n', r"a.jsonl:2 is not JSON \(Expecting"),
    ("a.jsonl", '{"a": 1}\n[1]\n', r"a.jsonl:2 is \[1\], no JSON object"),
    ("a.jsonl", b'{"a": "\xff"}', r"a.jsonl cannot be read \('utf-8'"),
    ("a.json", '[{"a": 1},\n{"a"]', "a.json is not JSON .* in line 2"),
    ("a.json", '{"a": 1}', "a.json holds {'a': 1}, no list"),
    ("a.json", '[{"a": 1}, 7]', "a.json:2 is 7, no JSON object"),
    ("a.parquet", "PAR1", "a.parquet is no Parquet file that can be read"),
    ("a.parquet", _lines(_ROWS), "a.parquet is no Parquet file"),
  ],
)
def test_damaged_files_are_one_sentence(tmp_path, name, content, message):
  path = tmp_path / name
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  with pytest.raises(errors.UserError, match=message) as found:
    list(readers.read(path))
  assert "\n" not in str(found.value)
  assert str(path) in str(found.value)


def test_damaged_archives_are_one_sentence(tmp_path):
  whole = gzip.compress(_lines(_ROWS * 500).encode())
  spoilt = whole[:40] + bytes(20) + whole[60:]
  for content in (b"{}", whole[:-12], spoilt):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(errors.UserError, match="rows.jsonl.gz cannot be read"):
      list(readers.read(path))


def test_missing_files_and_columns_are_named(tmp_path):
  with pytest.raises(errors.UserError, match="there is no file .*none.jsonl"):
    list(readers.read(tmp_path / "none.jsonl"))
  path = _table(tmp_path, _ROWS[1:])
  with pytest.raises(errors.UserError) as found:
    list(readers.read(path, ("question", "anser")))
  assert str(found.value) == (
    f"{path} has no column 'anser': did you mean 'answer'? choose one of"
    " answer, more, question"
  )


def test_long_values_are_cut_in_messages():
  assert readers.shortened("ab") == "'ab'"
  assert len(readers.shortened("x" * 500)) == 80


def test_a_missing_package_is_one_sentence(tmp_path):
  path = _table(tmp_path, _ROWS[1:])
  found = absent.error_without(
    "pyarrow", "readers", f"list(readers.read({str(path)!r}))"
  )
  assert found == (
    f"reading {path} needs the package pyarrow: pip install pyarrow\n"
  )
