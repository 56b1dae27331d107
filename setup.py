"""Which folders a wheel has; all else is said in `pyproject.toml`.

PyPI has a package `kernels`, and `experiments` is everybody's name, so both
folders are installed inside of rlvr_jax.
"""

import setuptools

_INSIDE = ("kernels", "experiments")

setuptools.setup(
  packages=[
    *setuptools.find_packages(include=["rlvr_jax", "rlvr_jax.*"]),
    *(
      f"rlvr_jax.{name}"
      for name in setuptools.find_packages(include=["kernels.*", "experiments"])
    ),
  ],
  package_dir={f"rlvr_jax.{name}": name for name in _INSIDE},
)
