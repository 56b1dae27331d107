"""The heat map's data."""

import json

from rlvr_jax.reporting import tokens


def _line(step, **columns):
  row = {"step": step, "prompt": "p", "outcome": "wrong", "reward": 0.0}
  return row | {"group": 0, "tokens": ["a", "b"]} | columns


def _data(lines):
  text = tokens.heat_map(lines).rpartition('id="token-data">')[2]
  return json.loads(text.removesuffix("</script>"))


def test_steps_are_spread_between_the_first_and_the_last():
  steps = [1, 5, 10, 15, 20]
  assert tokens.spread(steps, 9) == steps
  assert tokens.spread(steps, 3) == [1, 10, 20]
  assert tokens.spread(steps, 2) == [1, 20]
  assert tokens.spread(steps, 1) == [20]


def test_the_scale_leaves_out_one_odd_token():
  ordinary = [_line(1, weights=[1.0, -2.0])] * 100
  odd = [_line(1, weights=[500.0, None])]
  assert tokens.bound(ordinary + odd, "weights") == 2.0
  assert tokens.bound([_line(1, weights=[0.0, 0.0])], "weights") == 1.0
  assert tokens.bound([_line(1)], "weights") == 1.0


def test_columns_are_those_of_the_run():
  found = _data([_line(1, entropies=[0.5, 1.0], weights=[1.0, -1.0])])
  columns = {x["name"]: x["signed"] for x in found["columns"]}
  assert columns == {"weights": True, "entropies": False}
  (row,) = found["steps"][0]["rows"]
  assert row["values"] == [[1.0, -1.0], [0.5, 1.0]]


def test_a_long_run_keeps_some_steps(monkeypatch):
  monkeypatch.setattr(tokens, "_MOST_TOKENS", 6)
  lines = [_line(step, weights=[1.0, 2.0]) for step in range(1, 10)]
  found = _data(lines)
  assert [x["step"] for x in found["steps"]] == [1, 5, 9]
  assert "3 of 9 steps" in tokens.heat_map(lines)
