"""Which implementations of a kernel there are where, and how one is fetched."""

from collections.abc import Mapping
import importlib
import types


def require(
  name: str,
  platform: str,
  everywhere: tuple[str, ...],
  on_platform: Mapping[str, tuple[str, ...]],
) -> None:
  """Refuses a name that a platform lacks.

  Raises:
    ValueError: naming those that it has.
  """
  available = on_platform.get(platform, ()) + everywhere
  if name not in available:
    raise ValueError(
      f"implementation is {name!r}, and this backend, {platform}, has"
      f" {', '.join(available)}: choose one of these, or None for the default"
    )


def module(package: str, name: str) -> types.ModuleType:
  """Imported where used: Pallas takes longer to import than most calls take."""
  return importlib.import_module(f"{package}.{name}")
