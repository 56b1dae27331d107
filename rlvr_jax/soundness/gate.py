"""What a run has to pass before its first step, and when it goes on."""

import jax
import numpy as np

from rlvr_jax import checks
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import hosts
from rlvr_jax import programs as programs_lib
from rlvr_jax import records
from rlvr_jax.soundness import consistency


def before(
  run: experiment_lib.Run,
  programs: programs_lib.Programs,
  state: records.TrainState,
) -> None:
  """Looks at tokenizer, verifier and weights before a run goes on.

  Raises:
    errors.UserError: if something does not agree, with a table.
  """
  if not run.consistency.enabled:
    return
  train_set, vocabulary = programs.task.train, programs.task.vocabulary
  prompts = train_set.prompts
  rows = jax.device_get((prompts.prompt_tokens, prompts.prompt_mask))
  findings = consistency.text_findings(*rows, vocabulary)
  asked = run.consistency.asks_verifier and programs.outcomes
  if asked and train_set.demonstrations.shape[0]:
    right = programs.demonstrations(train_set, state.seed, state.step)
    findings += consistency.device_findings(
      programs.outcomes, right, vocabulary
    )
  consistency.require(findings + consistency.weight_findings(state.params))


def check_layouts(
  run: experiment_lib.Run,
  programs: programs_lib.Programs,
  state: records.TrainState,
  rollouts: records.RolloutBatch,
) -> str:
  """Compares the sampler's log-probs with the trainer's; says how close.

  Raises:
    errors.UserError: if they lie too far apart, with a table.
  """
  if not run.consistency.enabled:
    return ""
  gaps = jax.device_get(programs.layout_gaps(state.params, rollouts))
  consistency.require(
    consistency.gap_findings(gaps, run.consistency, run.model.dtype)
  )
  return f"sampler and trainer agree to {gaps['sampler']:.1g} nats a token"


def check_rollouts(
  rollouts: records.RolloutBatch, has_head: bool = False
) -> None:
  """Looks through the first batch of a run, before it is learned from.

  Args:
    rollouts: judged.
    has_head: whether a head is fitted to the rewards.

  Raises:
    errors.UserError: with the field, the value and the remedy.
  """
  arrays = vars(hosts.whole(rollouts))
  checks.batch({k: v for k, v in arrays.items() if isinstance(v, np.ndarray)})
  if has_head:
    checks.binary("rewards", arrays["rewards"])
