"""The only importer of `kernels`, and a guard against its namesake."""

import pathlib

import kernels

# PyPI has a package of the same name; ours lies beside rlvr_jax.
_OURS = pathlib.Path(__file__).resolve().parents[1] / "kernels"
if pathlib.Path(kernels.__file__).resolve().parent != _OURS:
  raise ImportError(
    f"`kernels` is {kernels.__file__}, not the package in {_OURS}: uninstall"
    " the PyPI package named kernels, or put this project first on the path"
  )

from kernels.attention import causal_attention  # noqa: E402
from kernels.attention import suitable as suitable_attention  # noqa: E402
from kernels.candidate_logprobs import candidate_logprobs  # noqa: E402
from kernels.candidate_logprobs import top_tokens  # noqa: E402
from kernels.partition import each  # noqa: E402
from kernels.partition import gathered  # noqa: E402
from kernels.partition import laid_out  # noqa: E402
from kernels.partition import of_each  # noqa: E402
from kernels.partition import Partition  # noqa: E402
from kernels.token_logprobs import token_logprobs  # noqa: E402
from kernels.transposed_product import transposed_product  # noqa: E402

__all__ = [
  "Partition",
  "candidate_logprobs",
  "causal_attention",
  "each",
  "gathered",
  "laid_out",
  "of_each",
  "suitable_attention",
  "token_logprobs",
  "top_tokens",
  "transposed_product",
]
