"""What the library says where a package is not installed."""

import subprocess
import sys


def error_without(package: str, module: str, call: str) -> str:
  """The user error of a call, printed by a program without the package.

  Args:
    package: that cannot be imported.
    module: of `rlvr_jax.data`.
    call: an expression that names the module.
  """
  program = (
    "import sys\n"
    f"sys.modules[{package!r}] = None\n"
    "from rlvr_jax import errors\n"
    f"from rlvr_jax.data import {module}\n"
    "try:\n"
    f"  {call}\n"
    "except errors.UserError as error:\n"
    "  print(error)\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", program],
    capture_output=True,
    text=True,
    timeout=60,
    check=True,
  )
  return done.stdout
