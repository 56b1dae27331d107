"""The kernels, which lie in `kernels/` at the top of the source tree.

PyPI has a package of that name, so ours is imported as `rlvr_jax.kernels` in
a clone as well as from a wheel. A wheel has the folder itself in the place of
this file (`setup.py`).
"""

import pathlib

__path__ = [str(pathlib.Path(__file__).resolve().parents[2] / "kernels")]
