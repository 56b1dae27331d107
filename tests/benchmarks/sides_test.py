"""What sides share, and ours."""

import math

import numpy as np

from benchmarks import workload
from benchmarks.sides import ours
from benchmarks.sides import side


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
  bias = ours.logit_bias(vocab=96, stop_probability=0.0625).astype(float)
  weights = np.exp(bias)
  probabilities = weights / weights.sum()
  assert math.isclose(probabilities[workload.EOS_ID], 0.0625, rel_tol=1e-6)
  assert probabilities[workload.PAD_ID] == probabilities[workload.UNK_ID] == 0
  never = np.exp(ours.logit_bias(96, 0.0).astype(float))
  assert never[workload.EOS_ID] == 0 and never.sum() == 93
