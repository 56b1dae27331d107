"""Numbers as reports show them."""

from collections.abc import Sequence

import numpy as np


def quartiles(values: Sequence[float] | np.ndarray) -> list[float]:
  """First quartile, median, third quartile."""
  return [float(x) for x in np.quantile(values, [0.25, 0.5, 0.75])]
