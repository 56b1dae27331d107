"""Names resolve to functions, and mistakes to one helpful sentence."""

import math
import types

import pytest

from rlvr_jax import errors
from rlvr_jax import names


def _namespace():
  module = types.ModuleType("room")
  module.__all__ = ["ppo_clip", "gspo"]
  module.ppo_clip = math.sin
  module.gspo = math.cos
  module.hidden = math.tan
  return module


def test_a_public_name_resolves():
  assert names.resolve("config.x", "ppo_clip", _namespace()) is math.sin


def test_an_import_path_resolves():
  assert names.resolve("config.x", "math:sqrt", _namespace()) is math.sqrt


@pytest.mark.parametrize("name", ["ppo_clipp", "hidden", "math:squirt", "no:f"])
def test_an_unknown_name_is_refused_by_field_and_value(name):
  with pytest.raises(errors.UserError) as caught:
    names.resolve("config.x", name, _namespace())
  assert str(caught.value).startswith(f"config.x is {name!r}")


def test_the_nearest_name_is_suggested():
  remedy = names.did_you_mean("ppo_clipp", ["gspo", "ppo_clip"])
  assert remedy == "did you mean 'ppo_clip'? choose one of gspo, ppo_clip"
