"""A run's memory and transfers are known before there are devices for it."""

import dataclasses
import functools
import re
import sys

import jax
import pytest

from experiments import rlrt
from rlvr_jax import errors
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import preflight
from rlvr_jax import sharding
from rlvr_jax.data import unread
from rlvr_jax.sizing import chips
from rlvr_jax.sizing import planning
from rlvr_jax.sizing import plans

# RLRT as its paper runs it, of a model and with lengths that compile at once.
_SMALL = dict(
  num_layers=3,
  width=32,
  num_heads=4,
  num_kv_heads=2,
  head_dim=8,
  mlp_width=48,
  vocab_size=88,
)


def _experiment(**mesh):
  config = rlrt.get_config("qwen3_4b_base")
  config.model.update(_SMALL)
  config.prompts_per_step = 8
  config.rollout.update(num_generations=2, completion_tokens=16)
  config.data.prompt_tokens = 16
  config.teacher.update(prompt_tokens=96, rows_per_pass=8)
  config.mesh.update(mesh)
  return experiment_lib.load(config.to_dict())


@functools.cache
def _plans(**mesh):
  experiment = _experiment(**mesh)
  on = sharding.make_mesh(experiment.run.mesh)
  # Optax mixes integers and floats inside Adam.
  with jax.numpy_dtype_promotion("standard"):
    calls = preflight.calls(experiment, on, num_prompts=100)
    found = [planning.plan(name, call) for name, call in calls.items()]
  return {plan.name: plan for plan in found}


@pytest.mark.parametrize(
  "mesh",
  [
    dict(fsdp=2, tensor=2),
    pytest.param(dict(), marks=pytest.mark.slow),
    pytest.param(dict(data=8), marks=pytest.mark.slow),
  ],
  ids=str,
)
def test_a_steps_programs_are_planned_from_shapes_alone(mesh):
  found = _plans(**mesh)
  assert list(found) == ["collect", "teach", "train_step"]
  for plan in found.values():
    assert plan.peak_gib > plan.arguments_gib > 0 or plan.name != "train_step"
  lines = plans.table(list(found.values()), None).splitlines()
  assert len(lines) == 4 and len(set(map(len, lines))) == 1


def test_an_update_gathers_a_layer_at_a_time_and_never_logits():
  sizes = dict(fsdp=2, tensor=2)
  transfers = _plans(**sizes)["train_step"].costs.transfers
  shapes = {
    tuple(map(int, of[of.index("[") + 1 : -1].split(",")))
    for kind, of, _ in transfers
    if kind == "all-gather" and "[]" not in of
  }
  vocabulary, width = _SMALL["vocab_size"] // 2, _SMALL["width"]
  assert (width, _SMALL["mlp_width"] // 2) in {x[-2:] for x in shapes}
  for shape in shapes:
    # Neither the layers of a stack at once, nor an entry for every token.
    assert len(shape) < 3 or shape[0] != _SMALL["num_layers"], shape
    if vocabulary in shape or 2 * vocabulary in shape:
      assert sorted(shape) == sorted((vocabulary, width)), shape


def test_a_sampler_gathers_its_parameters_once():
  transfers = _plans(fsdp=2, tensor=2)["collect"].costs.transfers
  layers, width = _SMALL["num_layers"], _SMALL["width"]
  gathered = [
    (of, times)
    for kind, of, times in transfers
    if kind == "all-gather" and re.search(rf"\[{width},|,{width}\]", of)
  ]
  # Seven matrices of a layer and the embedding, in the dtype that is computed
  # with.
  assert len(gathered) == 7 * layers + 1
  assert all(of.startswith("bf16") and n == 1 for of, n in gathered), gathered


@pytest.mark.slow
def test_split_parameters_take_less_of_each_device():
  whole, split = _plans(data=8), _plans(fsdp=8)
  of = lambda plans: plans["train_step"].arguments_gib
  assert of(split) < of(whole) / 2


def test_the_whole_state_is_on_a_device_whatever_a_program_reads():
  found = _plans(fsdp=2, tensor=2)
  # Parameters, and two moments of the optimizer's.
  collect, update = found["collect"], found["train_step"]
  state = update.arguments_gib
  assert update.unread_gib == 0
  assert 0.6 * state < collect.unread_gib < 0.7 * state
  assert collect.peak_gib > collect.unread_gib + collect.arguments_gib


def test_a_plan_travels_between_processes():
  for plan in (*_plans(fsdp=2, tensor=2).values(), plans.Plan("x", 1.0, None)):
    assert plans.from_json(plans.to_json(plan)) == plan


def test_a_process_that_ends_without_a_plan_is_told_of(monkeypatch):
  monkeypatch.setattr(sys, "argv", ["preflight", "--config=nowhere.py"])
  with pytest.raises(errors.UserError, match="collect could not .* status 2: "):
    next(preflight.plans_apart(["collect"]))


def test_what_does_not_fit_is_told():
  plan = plans.Plan("train_step", 1.0, 17.0)
  assert plans.fits([plan], 32.0) and plans.fits([plan], None)
  assert not plans.fits([plan], 16.0)
  said = "Ran out of memory on HBM, the total memory required for HLO"
  said += " temporaries (20.13G) exceeds available HBM (15.75G)."
  needed = planning.needed(f"RESOURCE_EXHAUSTED: {said}\nDump")
  assert needed in said and "20.13G" in needed and "15.75G" in needed
  refused = plans.Plan("collect", 0.0, None, needed)
  assert not plans.fits([refused], None)
  table = plans.table([refused, plan], 32.0)
  assert "does not fit: the total memory required" in table and "53%" in table
  assert planning.needed("INTERNAL: something else") == ""


def test_a_task_that_is_built_where_it_runs_needs_no_preflight():
  experiment = _experiment()
  data = dataclasses.replace(experiment.run.data, verifier="countdown_outcomes")
  run = dataclasses.replace(experiment.run, data=data)
  with pytest.raises(errors.UserError, match="'countdown_outcomes', of a task"):
    mesh = sharding.make_mesh(run.mesh)
    preflight.calls(experiment._replace(run=run), mesh, 100)


def test_memory_is_known_of_tpus():
  assert chips.CHIPS["TPU v5 lite"].memory_gib == 15.75
  assert jax.devices("cpu")[0].device_kind not in chips.CHIPS


def test_an_unread_text_has_a_length():
  vocabulary = unread.UnreadVocabulary(32)
  assert vocabulary.encode("seven: 7") == (2, 2, 2)
  assert vocabulary.encode("") == ()
