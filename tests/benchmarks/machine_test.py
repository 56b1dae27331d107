"""What the machine is kept busy with."""

import math
import os
import pathlib

from benchmarks import machine


def test_the_load_of_others_leaves_out_our_own():
  started = machine.look()
  assert started.own_secs > 0
  pathlib.Path(__file__).read_text()
  later = started._replace(secs=started.secs - 10.0)
  if started.busy_secs is None:
    assert machine.other_load(started) is None
    return
  # Ten seconds in which others worked for five, and this process for two.
  later = later._replace(
    busy_secs=started.busy_secs - 7.0, own_secs=started.own_secs - 2.0
  )
  assert math.isclose(machine.other_load(later), 0.5, abs_tol=0.05)
  assert not machine.is_loaded(None)
  assert machine.is_loaded(0.06 * os.cpu_count())
  assert not machine.is_loaded(0.04 * os.cpu_count())
