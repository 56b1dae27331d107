"""rlvr_jax's log-probabilities and gradient of a file that PyTorch wrote.

Weights come in by the names that a checkpoint of transformers has; credit,
loss and gradient are those of the train step, rewards being all it is given.
"""

from typing import Any

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import workload
from benchmarks.sides import agreement
from benchmarks.sides import ours
from benchmarks.sides import side
from rlvr_jax import records
from rlvr_jax import rewards as rewards_lib
from rlvr_jax import state as state_lib
from rlvr_jax import update
from rlvr_jax.models import configs
from rlvr_jax.models import huggingface
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import scoring


def _path(place: huggingface.Place) -> tuple[str, ...]:
  if place.layer is None:
    return place.path
  return (f"layers_{place.layer}", *place.path)


def loaded(oracle, config: configs.ModelConfig) -> Any:
  """Parameters from the file's weights."""
  flat = {}
  for name, place in huggingface.tensors(config).items():
    value = oracle[f"weight/{name}"]
    flat[_path(place)] = jnp.asarray(value.T if place.transposed else value)
  return traverse_util.unflatten_dict(flat)


def taken(tree: Any, config: configs.ModelConfig) -> dict[str, np.ndarray]:
  """A tree's arrays by the names and in the shapes of transformers."""
  flat = traverse_util.flatten_dict(tree)
  found = {}
  for name, place in huggingface.tensors(config).items():
    value = np.asarray(flat[_path(place)])
    found[name] = value.T if place.transposed else value
  return found


def rollout_batch(oracle, size: workload.Size) -> records.RolloutBatch:
  """The file's rollouts, judged."""
  first_rows = slice(None, None, size.samples)
  rows = jnp.arange(size.sequences, dtype=jnp.int32)
  completions = jnp.asarray(oracle["completions"])
  rollouts = records.RolloutBatch(
    prompts=records.PromptBatch(
      prompt_tokens=jnp.asarray(oracle["prompts"][first_rows]),
      prompt_mask=jnp.asarray(oracle["prompt_mask"][first_rows], jnp.float32),
      prompt_ids=jnp.arange(size.prompts, dtype=jnp.int32),
      answers={},
    ),
    completion_tokens=completions,
    completion_mask=jnp.ones(completions.shape, jnp.float32),
    group_ids=rows // size.samples,
    sample_index=rows % size.samples,
    valid=jnp.ones(size.sequences, jnp.float32),
    finished=jnp.ones(size.sequences, jnp.float32),
  )
  is_right = jnp.asarray(oracle["rewards"]) > 0
  right, wrong = map(records.OUTCOMES.index, ("correct", "wrong"))
  outcomes = jnp.where(is_right, right, wrong).astype(jnp.int32)
  return rewards_lib.with_outcomes(rollouts, outcomes)


def keeping_gradients() -> optax.GradientTransformation:
  """An optimizer that moves nothing and keeps the gradient as its state."""
  zeros = lambda tree: jax.tree.map(jnp.zeros_like, tree)
  return optax.GradientTransformation(
    zeros, lambda gradient, state, params=None: (zeros(gradient), gradient)
  )


def main():
  """Writes differences as JSON."""
  args = agreement.arguments(__doc__)
  size = side.size_of(args)
  jax.config.update("jax_default_matmul_precision", "highest")
  oracle = np.load(args.file)
  run, method, _ = ours.experiment(size)
  model = transformer.Transformer(run.model)
  optimizer = keeping_gradients()
  state = state_lib.around(loaded(oracle, run.model), run.seed, optimizer)
  rollouts = rollout_batch(oracle, size)

  @jax.jit
  def measured(state, rollouts):
    scores = scoring.score_completions(
      model, state.params, rollouts.prompts, rollouts.completion_tokens
    )
    after, metrics = update.train_step(
      state,
      rollouts,
      model=model,
      method=method,
      optimizer=optimizer,
      config=run.updates,
    )
    return scores.logprobs, after.opt_state, metrics["policy/loss"]

  logprobs, gradient, loss = measured(state, rollouts)
  differences = agreement.differences(
    oracle, np.asarray(logprobs), taken(gradient, run.model)
  )
  differences["loss"] = abs(float(loss) - float(oracle["loss"]))
  agreement.write(args, differences)


if __name__ == "__main__":
  main()
