"""Environments of the peers."""

from benchmarks import peers
from benchmarks import processes


def test_a_missing_environment_is_told_with_its_remedy(tmp_path):
  (sentence,) = processes.missing(["ours", "torch", "trl"], tmp_path)
  assert sentence == (
    f"{tmp_path}/trl/bin/python is missing: make the environment with"
    f" `python -m benchmarks.peers {tmp_path} trl`"
  )
  python = peers.interpreter(tmp_path, "trl")
  python.parent.mkdir(parents=True)
  python.touch()
  assert processes.missing(["ours", "torch", "trl"], tmp_path) == []
  assert processes.missing(["ours"], tmp_path) == []
