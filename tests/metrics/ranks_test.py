"""The picture of ranks."""

from rlvr_jax.metrics import ranks


def test_a_picture_is_written(tmp_path):
  path = tmp_path / "rank.png"
  ranks.draw_ranks(
    {"a": [1.0, 2.0], "b": [2.0, 1.0]},
    {"a": (1.5, 1.0, 2.0), "b": (1.5, 1.0, 2.0)},
    path,
    "two methods",
  )
  assert path.stat().st_size > 5_000
