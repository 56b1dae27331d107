"""What the tests of this room share."""

import pytest

from rlvr_jax import errors
from rlvr_jax.verifiers import sandbox


@pytest.fixture(scope="module", params=sandbox.BACKENDS)
def backend(request):
  """Every backend that this machine has."""
  try:
    return sandbox.choose(request.param)
  except errors.UserError as error:
    pytest.skip(str(error))
