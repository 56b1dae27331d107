"""The peer benchmark's own arithmetic: sizes, prompts, FLOPs, tables."""

import json
import math
import os
import pathlib

import numpy as np
import pytest

from benchmarks import decode
from benchmarks import flops
from benchmarks import machine
from benchmarks import peers
from benchmarks import processes
from benchmarks import rl_report
from benchmarks import rl_step
from benchmarks import same
from benchmarks import scaling
from benchmarks import workload
from benchmarks.sides import agreement
from benchmarks.sides import ours
from benchmarks.sides import side

# Two prompts of two samples, one layer with one head of width 2.
_TINY = workload.Size(
  name="tiny",
  layers=1,
  width=2,
  heads=1,
  kv_heads=1,
  head_dim=2,
  ffn=3,
  vocab=100,
  prompts=2,
  samples=2,
  prompt_tokens=8,
  completion_tokens=2,
  micro_batches=1,
)


@pytest.mark.parametrize(
  ("name", "parameters"),
  [
    ("Q", 104_832),
    ("S", 800_128),
    ("M", 54_540_288),
    ("L", 596_049_920),
  ],
)
def test_sizes_have_the_parameters_they_say(name, parameters):
  assert workload.SIZES[name].parameters == parameters


@pytest.mark.parametrize("name", ["Q", "S", "M"])
def test_prompts_fill_their_bucket_and_have_the_value_of_their_sum(name):
  size = workload.SIZES[name]
  for step in range(20):
    problems = workload.problems(size, step)
    assert len(problems) == size.prompts
    lengths = [len(text) for text, _ in problems]
    assert lengths[0] == max(lengths) == size.prompt_tokens
    assert min(lengths) >= size.prompt_tokens // 2
    for text, answer in problems:
      assert text.endswith("=")
      terms = text[:-1].replace("-", "+-").split("+")
      assert sum(map(int, terms)) == answer
  assert workload.problems(size, 3) == workload.problems(size, 3)
  assert workload.problems(size, 3) != workload.problems(size, 4)


def test_ids_are_those_of_the_alphabet():
  size = workload.SIZES["S"]
  pieces = [*workload.SPECIAL_TOKENS, *workload.alphabet(size)]
  text, _ = workload.problems(size, 0)[0]
  assert "".join(pieces[i] for i in workload.encode(text)) == text
  for other in workload.SIZES.values():
    characters = workload.alphabet(other)
    assert len(set(characters)) == other.vocab - len(workload.SPECIAL_TOKENS)
    # Surrogates are no characters.
    "".join(characters).encode("utf-8")


def test_the_reward_of_ids_is_that_of_their_text():
  size = workload.SIZES["M"]
  pieces = [*workload.SPECIAL_TOKENS, *workload.alphabet(size)]
  _, _, answers = workload.prompt_arrays(size, 1)
  prompts, mask, completions, rewards = workload.fixed_rollouts(size, 1)
  assert completions.min() > max(workload.NEVER_SAMPLED)
  assert np.array_equal(mask, prompts != workload.PAD_ID)
  for row, (ids, found) in enumerate(zip(completions, rewards, strict=True)):
    text = "".join(pieces[i] for i in ids)
    assert found == workload.reward(text, int(answers[row // size.samples]))
  # Groups are mixed, so that there is something to learn.
  assert np.all(np.ptp(rewards.reshape(size.prompts, -1), axis=1) == 1)


def test_passes_of_an_update_share_out_whole_prompts():
  size = workload.SIZES["S"]
  assert workload.with_micro_batches(size, None) is size
  assert workload.with_micro_batches(size, 4).micro_batches == 4
  with pytest.raises(ValueError, match="does not divide 16 prompts"):
    workload.with_micro_batches(size, 3)


def test_flops_by_hand():
  # Query and output 2 x 2 each, key and value 2 x 2 each, three MLP matrices
  # of 2 x 3: 16 + 18 = 34 numbers. Tokens: 2 prompts of 8, read once, and 4
  # completions of 2: 24. Logits: 100 x 2 for each of 8 generated tokens.
  products = 2 * (34 * 24 + 200 * 8)
  # Pairs of query and key: in a prompt 8 * 9 / 2 = 36; a completion's two
  # queries see 9 and 10 keys. Each pair costs 2 products of width 2.
  attention = 4 * 2 * (2 * 36 + 4 * 19)
  forward = products + attention
  assert flops.forward_flops(_TINY) == forward
  assert flops.step_flops(_TINY) == {
    "generate": forward,
    "update": 3 * forward,
    "step": 4 * forward,
  }


def _report(generate, update, **changes):
  secs = {}
  if generate:
    secs["generate"] = generate
  if update:
    secs["update"] = update
  secs["step"] = [sum(x) for x in zip(*secs.values(), strict=True)]
  middle = lambda x: float(np.median(side.after_warm_up(x)))
  return {
    "parameters": _TINY.parameters,
    "dtype": "float32",
    "steps": 5,
    "seconds": {name: middle(x) for name, x in secs.items()},
    "all_seconds": secs,
    "first_step_s": secs["step"][0],
    "peak_rss_mib": 100.0,
    "peak_device_mib": None,
    "checks": {"loss": [0.0], "grad_norm": [1.0], "weights_moved": True},
    "versions": {},
    "machine": {"other_load_cpus": 0.0},
    "matmul_flops_per_s": 1e6,
  } | changes


def test_table_pools_the_rounds_and_divides_by_ours():
  # The first two steps of each run are warm-up.
  our_rounds = [
    _report([9.0, 9.0, 1.0, 2.0, 3.0], [9.0, 9.0, 2.0, 2.0, 2.0]),
    _report([9.0, 9.0, 3.0, 2.0, 1.0], [9.0, 9.0, 2.0, 2.0, 2.0]),
  ]
  peer = [_report([5.0, 5.0, 5.0, 5.0, 5.0], [8.0, 8.0, 3.0, 3.0, 3.0])]
  update_alone = [_report(None, [8.0, 8.0, 1.0, 1.0, 1.0])]
  found = rl_report.summary(
    {"ours": our_rounds, "peer": peer, "torch": update_alone}, _TINY
  )
  assert found["ours"]["seconds"]["generate"] == [1.25, 2.0, 2.75]
  assert found["ours"]["against_ours"] == dict.fromkeys(rl_report.PARTS, 1.0)
  assert found["peer"]["against_ours"] == {
    "generate": 2.5,
    "update": 1.5,
    "step": 2.0,
  }
  # Eight tokens in two seconds.
  assert found["ours"]["tokens_per_s_generate"] == 4.0
  assert found["ours"]["first_step_s"] == 18.0
  share = 3 * flops.forward_flops(_TINY) / 2.0 / 1e6
  assert math.isclose(found["ours"]["share_of_peak"]["update"], share)
  assert found["torch"]["against_ours"] == {"update": 0.5}
  rows = rl_report.table(found).splitlines()
  cells = [[x.strip() for x in row.split("|")[1:-1]] for row in rows]
  assert len({len(row) for row in cells}) == 1
  assert cells[2][:3] == ["ours", "2.000 [1.250, 2.750]", "1.00"]
  assert cells[3][:3] == ["peer", "5.000 [5.000, 5.000]", "2.50"]
  # No generation, hence no step.
  assert cells[4][:7] == [
    "torch",
    "",
    "",
    "1.000 [1.000, 1.000]",
    "0.50",
    "",
    "",
  ]


def test_what_makes_numbers_no_comparison_is_said():
  steps = [1.0] * 5
  good = {"completion_tokens": [2], "updates": 5, "loss": [0.1]}
  assert not rl_report.doubts(
    {"ours": [_report(steps, steps, checks=good)]}, _TINY
  )
  busy = {"other_load_cpus": 0.5 * os.cpu_count()}
  bad = _report(
    steps,
    steps,
    parameters=7,
    machine=busy,
    checks={
      "completion_tokens": [1, 2],
      "loss": [math.nan],
      "weights_moved": False,
      "updates": 4,
    },
  )
  sentences = "\n".join(rl_report.doubts({"peer": [bad]}, _TINY))
  assert sentences.count("peer, round 1") == 6
  for part in (
    "7 parameters, where size tiny has",
    "completions of [1, 2] tokens",
    "loss is not finite",
    "did not move",
    "4 updates in 5 steps",
    "5% of the machine",
  ):
    assert part in sentences


def test_a_missing_environment_is_told_with_its_remedy(tmp_path):
  (sentence,) = processes.missing(["ours", "torch", "trl"], tmp_path)
  assert sentence == (
    f"{tmp_path}/trl/bin/python is missing: make the environment with"
    f" `python -m benchmarks.peers {tmp_path} trl`"
  )
  python = peers.interpreter(tmp_path, "trl")
  python.parent.mkdir(parents=True)
  python.touch()
  assert processes.missing(["ours", "torch", "trl"], tmp_path) == []
  assert processes.missing(["ours"], tmp_path) == []


def test_results_join_a_list(tmp_path):
  path = tmp_path / "results" / "rl_step.json"
  rl_step.append(path, {"size": "S"})
  rl_step.append(path, {"size": "M"})
  assert json.loads(path.read_text()) == [{"size": "S"}, {"size": "M"}]
  assert [x.name for x in path.parent.iterdir()] == [path.name]


def test_differences_and_their_limits():
  rng = np.random.default_rng(0)
  gradient = {"a": rng.standard_normal(5), "b": rng.standard_normal((2, 3))}
  oracle = {f"gradient/{name}": x for name, x in gradient.items()}
  oracle["logprobs"] = np.zeros((2, 3))
  exact = agreement.differences(oracle, oracle["logprobs"], gradient)
  assert exact == {
    "logprobs": 0.0,
    "gradient": 0.0,
    "worst_tensor": 0.0,
    "tensors": 2,
  }
  assert same.disagreements({"ours": exact}) == []
  doubled = gradient | {"a": 2 * gradient["a"]}
  found = agreement.differences(oracle, oracle["logprobs"] + 0.5, doubled)
  assert found["logprobs"] == 0.5
  assert math.isclose(found["worst_tensor"], 1.0)
  assert found["gradient"] < 1.0
  (sentence,) = same.disagreements({"ours": found})
  assert sentence.startswith("ours does not compute what PyTorch does")
  # A NaN is no agreement.
  broken = exact | {"gradient": math.nan}
  assert len(same.disagreements({"tunix": broken})) == 1


def test_the_load_of_others_leaves_out_our_own():
  started = machine.look()
  assert started.own_secs > 0
  pathlib.Path(__file__).read_text()
  later = started._replace(secs=started.secs - 10.0)
  if started.busy_secs is None:
    assert machine.other_load(started) is None
    return
  # Ten seconds in which others worked for five, and this process for two.
  later = later._replace(
    busy_secs=started.busy_secs - 7.0, own_secs=started.own_secs - 2.0
  )
  assert math.isclose(machine.other_load(later), 0.5, abs_tol=0.05)
  assert not machine.is_loaded(None)
  assert machine.is_loaded(0.06 * os.cpu_count())
  assert not machine.is_loaded(0.04 * os.cpu_count())


def test_clock_and_medians():
  clock = side.Clock()
  with clock.span("step"), clock.span("rollout"):
    pass
  clock.add_rest("update", "step", "rollout")
  assert clock.secs["update"][0] >= 0
  assert clock.timed("call", lambda x: x + 1)(1) == 2
  assert len(clock.secs["call"]) == 1
  assert side.after_warm_up([1, 2, 3, 4]) == [3, 4]
  assert side.after_warm_up([1, 2]) == [2]
  assert side.after_warm_up([1]) == [1]


def test_our_side_has_the_settings_of_the_workload():
  size = workload.SIZES["M"]
  run, method, _ = ours.experiment(size)
  assert method.token_loss.settings == {"clip_low": 0.2, "clip_high": 0.2}
  assert method.aggregate.name == "sequence_mean"
  assert method.advantage.name == "grpo_advantages"
  assert method.regularizers == ()
  assert run.optimizer.learning_rate == 1e-4
  assert run.optimizer.weight_decay == 0.01
  assert run.optimizer.clip_norm == 1.0
  assert (run.optimizer.b1, run.optimizer.b2) == (0.9, 0.999)
  assert run.updates.num_micro_batches == 4
  assert run.updates.num_minibatches == 1
  assert run.rollout.num_generations == 8
  assert run.rollout.temperature == 1.0


def test_our_verifier_gives_the_reward_of_the_workload():
  size = workload.SIZES["M"]
  _, _, answers = workload.prompt_arrays(size, 0)
  _, _, completions, rewards = workload.fixed_rollouts(size, 0)
  outcomes = ours.verifier(size)(
    completion_tokens=completions, answer=np.repeat(answers, size.samples)
  )
  assert np.array_equal(np.asarray(outcomes) == 0, rewards == 1)


def test_the_bias_of_the_stop_token_gives_its_rate():
  bias = decode.logit_bias(vocab=96, stop_probability=0.0625).astype(float)
  weights = np.exp(bias)
  probabilities = weights / weights.sum()
  assert math.isclose(probabilities[workload.EOS_ID], 0.0625, rel_tol=1e-6)
  assert probabilities[workload.PAD_ID] == probabilities[workload.UNK_ID] == 0
  never = np.exp(decode.logit_bias(96, 0.0).astype(float))
  assert never[workload.EOS_ID] == 0 and never.sum() == 93


def test_the_mean_length_is_that_of_the_lengths():
  stop, longest = 0.3, 5
  # Lengths 1 to 4 end by a stop, all others at the longest.
  chances = [stop * (1 - stop) ** (n - 1) for n in range(1, longest)]
  chances.append(1 - sum(chances))
  expected = sum(n * chance for n, chance in enumerate(chances, start=1))
  assert math.isclose(decode.mean_length(stop, longest), expected)


def test_every_kind_takes_its_turn_in_both_orders():
  calls = []
  secs = decode.interleaved(
    {x: lambda x=x: calls.append(x) for x in "ab"}, rounds=2
  )
  assert "".join(calls) == "baabba"
  assert {name: x.shape for name, x in secs.items()} == {"a": (2,), "b": (2,)}


def test_the_tables_of_decoding_say_what_was_found():
  kinds = [
    dict(kind="at once", width=512, throughput_ratio=[1.0, 1.0, 1.0]),
    dict(kind="refilled", width=64, throughput_ratio=[1.8, 2.0, 2.2]),
  ]
  kinds[1]["ratio_to_batches"] = [1.4, 1.5, 1.6]
  for x in kinds:
    x |= dict(secs=[0.9, 1.0, 1.1], tokens_per_sec=8192.0, idle_share=0.75)
  found = {
    "sequences": 512,
    "completion_tokens": 64,
    "mean_length": 16.0,
    "expected_mean_length": 15.7,
    "same_tokens": False,
    "kinds": kinds,
  }
  text = decode.slots_table(found)
  assert text.splitlines()[3].split() == (
    ["refilled", "64", "1.000", "8,192", "75%", "2.00x", "1.50x"]
  )
  assert text.endswith("not one workload")
  assert "not one workload" not in decode.slots_table(
    found | {"same_tokens": True}
  )
  assert decode.draw_share(1.0, 4.0, layer=2.0, more_layers=3) == 0.1


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_exponents_of_exact_powers(power):
  values = [8, 16, 32, 64]
  costs = [3.0 * x**power for x in values]
  linear = [5.0 * x for x in values]
  found = scaling.growth(values, costs, linear)
  assert math.isclose(found["exponent"], power, abs_tol=1e-9)
  assert math.isclose(found["last_exponent"], power, abs_tol=1e-9)
  assert math.isclose(found["counted_exponent"], 1.0)
  assert found["is_steep"] == (power > 1.15)


def test_sizes_are_doubled_one_at_a_time():
  args = scaling.arguments().parse_args([])
  base = scaling.base_size(args)
  sizes = scaling.axes(base, number=4)
  for name, axis in sizes.items():
    assert axis[getattr(base, name)] == base
    assert list(axis) == [getattr(base, name) * 2**i for i in range(4)]
  widest = sizes["width"][8 * base.width]
  assert widest.heads == 8 * base.heads and widest.ffn == 8 * base.ffn
  # Twice the prompts are twice the arithmetic.
  counted = [flops.forward_flops(x) for x in sizes["prompts"].values()]
  assert np.allclose(np.divide(counted[1:], counted[:-1]), 2.0)
