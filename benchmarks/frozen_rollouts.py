"""One batch of rollouts and the policy that wrote it, held still."""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import runs
from rlvr_jax import checks
from rlvr_jax import errors
from rlvr_jax import gather
from rlvr_jax import records
from rlvr_jax import settings
from rlvr_jax import workdir
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import files as rollout_files
from rlvr_jax.rollouts import scoring
from rlvr_jax.weights import pretrained

# What the policy of the rollouts says of them itself.
_OWN = (
  "sampler_logprobs",
  "frozen_entropies",
  "frozen_mean_logprobs",
  "old_logprobs",
)


class Frozen(NamedTuple):
  """What gradients are taken on.

  Attributes:
    model: the transformer.
    params: of the policy that wrote the rollouts.
    rollouts: on device, all fields of `scored` filled.
    temperature: the sampler's.
    scored: fields that the file lacks, filled by this model.
  """

  model: transformer.Transformer
  params: Any
  rollouts: records.RolloutBatch
  temperature: float
  scored: tuple[str, ...]

  @property
  def on_policy(self) -> records.RolloutBatch:
    """The rollouts for a gradient at `params`, as a single update sees them.

    Old log-probabilities that were scored here are left out: those of another
    pass are equal but for rounding, and some losses have a kink at ratio 1.
    """
    if "old_logprobs" in self.scored:
      return self.rollouts.replace(old_logprobs=None)
    return self.rollouts


def make(file: pathlib.Path, num_steps: int) -> None:
  """Trains a small run in the file's folder and writes a further batch of it.

  The run is SRPO's on `:tiny`, whose teacher sees a right response of the same
  prompt and has the current weights. The batch has the columns of that teacher
  over the whole vocabulary, and the log-probabilities of a reference, the
  policy after the warm start.

  Args:
    file: the .npz file; its folder is that of the run.
    num_steps: of RL, after the warm start.
  """
  folder = file.absolute().parent
  overrides = {
    "num_steps": num_steps,
    "evaluation.every_steps": num_steps,
    "checkpoint.every_steps": num_steps,
    "teacher.top_k": 0,
  }
  cache = folder.parent / "compilation_cache"
  runs.train(folder, "experiments/srpo.py:tiny", overrides, cache)
  experiment, task, programs = runs.opened(folder)
  state = runs.newest_state(folder, programs)
  first_round = jnp.zeros((), jnp.int32)
  plan, _, _ = programs.plan(state, task.train.prompts, None, first_round)
  rollouts, _ = programs.collect(
    state.params, state.seed, state.step, plan.prompts
  )
  rollouts, _ = programs.teach(state, rollouts)
  model = transformer.Transformer(experiment.run.model)
  reference = gather.borrowed_parameters(str(folder), programs)
  scores = _score(
    model, experiment.run.rollout.temperature, reference, rollouts
  )
  rollouts = rollouts.replace(ref_logprobs=scores.logprobs)
  rollout_files.write(file, jax.device_get(rollouts))


def opened(
  file: pathlib.Path, folder: pathlib.Path, temperature: float | None = None
) -> Frozen:
  """The rollouts of a file with the policy of a folder.

  Args:
    file: of `rollouts.files.write`.
    folder: of a run, or of a Hugging Face checkpoint.
    temperature: the sampler's; None for that of the run, or 1.

  Raises:
    errors.UserError: if file or folder holds something else, or the two do not
      belong together.
  """
  rollouts, _ = rollout_files.read(file)
  config, params = pretrained.policy(folder)
  if temperature is None:
    run = workdir.read_config(folder) if pretrained.is_run(folder) else {}
    temperature = run.get("rollout", {}).get("temperature", 1.0)
  largest = max(
    int(np.max(rollouts.completion_tokens)),
    int(np.max(rollouts.prompts.prompt_tokens)),
  )
  settings.require(
    largest < config.vocab_size,
    f"{file} has token {largest}, but the model in {folder} knows"
    f" {config.vocab_size} tokens: give the folder of the model that wrote the"
    " rollouts",
  )
  if rollouts.rewards is None:
    raise errors.UserError(f"{file} has no rewards: judge its rollouts first")
  checks.batch(records.fields(rollouts))
  model = transformer.Transformer(config)
  rollouts = jax.device_put(rollouts)
  rollouts, scored = _filled(
    rollouts, _score(model, temperature, params, rollouts)
  )
  return Frozen(model, params, rollouts, temperature, scored)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _score(model, temperature: float, params, rollouts) -> scoring.TokenScores:
  return scoring.score_completions(
    model,
    params,
    rollouts.prompts,
    rollouts.completion_tokens,
    temperature=temperature,
  )


def _filled(
  rollouts: records.RolloutBatch, scores: scoring.TokenScores
) -> tuple[records.RolloutBatch, tuple[str, ...]]:
  """The rollouts with what they lack, and its names."""
  by_name = {
    "sampler_logprobs": scores.logprobs,
    "old_logprobs": scores.logprobs,
    "frozen_entropies": scores.entropies,
    "frozen_mean_logprobs": scores.mean_logprobs,
  }
  lacks = tuple(name for name in _OWN if getattr(rollouts, name) is None)
  found = {name: by_name[name] for name in lacks}
  if "sampler_logprobs" in lacks:
    found["log_kept_mass"] = jnp.zeros_like(scores.logprobs)
  return rollouts.replace(**found), lacks
