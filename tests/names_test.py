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


def test_without_a_near_name_all_are_listed():
  assert names.did_you_mean("zzz", ["b", "a"]) == "choose one of a, b"


def test_a_module_without_a_list_offers_its_own_public_functions():
  found = names.public_functions(names)
  assert {"did_you_mean", "public_functions", "resolve"} <= set(found)
  # Neither imported modules and classes nor what starts with an underscore.
  assert all(
    function.__module__ == names.__name__ and not name.startswith("_")
    for name, function in found.items()
  )


def test_the_first_module_does_not_hide_the_second():
  other = types.ModuleType("other")
  other.__all__ = ["cispo"]
  other.cispo = math.exp
  assert names.resolve("config.x", "cispo", _namespace(), other) is math.exp
  assert names.resolve("config.x", "gspo", _namespace(), other) is math.cos


def test_the_message_of_an_unknown_name_says_how_to_bring_ones_own():
  with pytest.raises(errors.UserError) as caught:
    names.resolve("config.x", "ppo", _namespace())
  message = str(caught.value)
  assert message.endswith("or name your own as 'module:function'")
  assert "\n" not in message
