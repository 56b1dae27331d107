"""Tunix's log-probabilities and gradient of a file that PyTorch wrote."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
from tunix.rl import algo_core
from tunix.rl import common
from tunix.rl.grpo import grpo_learner

from benchmarks import workload
from benchmarks.sides import agreement
from benchmarks.sides import side
from benchmarks.sides import tunix_learner
from benchmarks.sides import tunix_model


def put(model, oracle, size: workload.Size) -> None:
  """Gives the model the weights of the file; heads are split by a reshape."""
  for name, (path, transposed) in tunix_model.places(size).items():
    value = oracle[f"weight/{name}"]
    target = model
    for key in path:
      target = target[key] if isinstance(key, int) else getattr(target, key)
    shape = target[...].shape
    target[...] = jnp.asarray(value.T if transposed else value).reshape(shape)


def taken(state, oracle, size: workload.Size) -> dict[str, np.ndarray]:
  """A state's arrays in the shapes of the file, by transformers' names."""
  found = {}
  for name, (path, transposed) in tunix_model.places(size).items():
    value = state
    for key in path:
      value = value[key]
    shape = oracle[f"weight/{name}"].shape
    flat = np.asarray(value[...])
    found[name] = flat.reshape(shape[::-1]).T if transposed else flat
  return found


def main():
  """Writes differences as JSON."""
  args = agreement.arguments(__doc__)
  size = side.size_of(args)
  # The other sides' products are exact on an accelerator too.
  jax.config.update("jax_default_matmul_precision", "highest")
  oracle = np.load(args.file)
  model = tunix_model.build(size, jnp.float32)
  put(model, oracle, size)
  example = grpo_learner.TrainExample(
    prompt_ids=jnp.asarray(oracle["prompts"]),
    prompt_mask=jnp.asarray(oracle["prompt_mask"]),
    completion_ids=jnp.asarray(oracle["completions"]),
    completion_mask=jnp.ones(oracle["completions"].shape, bool),
    advantages=jnp.asarray(oracle["advantages"]),
    ref_per_token_logps=None,
    old_per_token_logps=None,
  )
  ids = dict(pad_id=workload.PAD_ID, eos_id=workload.EOS_ID)
  logprobs = common.compute_per_token_logps(
    *nnx.split(model),
    prompt_tokens=example.prompt_ids,
    completion_tokens=example.completion_ids,
    **ids,
  )
  algorithm = tunix_learner.algorithm(size)
  algorithm.temperature = workload.TEMPERATURE
  loss = lambda model: algo_core.grpo_loss_fn(
    model, example, algorithm, *ids.values()
  )
  gradient, _ = nnx.grad(loss, has_aux=True)(model)
  differences = agreement.differences(
    oracle, np.asarray(logprobs), taken(gradient, oracle, size)
  )
  agreement.write(args, differences)


if __name__ == "__main__":
  main()
