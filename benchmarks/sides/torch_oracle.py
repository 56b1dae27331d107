"""PyTorch's log-probabilities, loss and gradient of fixed weights and rollouts.

The file that it writes is what other sides are held against: parameters as
"weight/" and gradients as "gradient/" with the names that transformers gives
them, the rollouts, `advantages`, `logprobs` and `loss`.
"""

import numpy as np
import torch

from benchmarks import workload
from benchmarks.sides import side
from benchmarks.sides import torch_model
from benchmarks.sides import torch_step


def draw(model: torch.nn.Module) -> None:
  """Large matrices and uneven norms, so that a mistake shows."""
  rng = np.random.default_rng(workload.SEED)
  with torch.no_grad():
    for parameter in model.parameters():
      noise = torch.from_numpy(rng.standard_normal(parameter.shape)).float()
      is_norm = parameter.ndim == 1
      parameter.copy_(1.0 + 0.1 * noise if is_norm else 0.06 * noise)


def main():
  """Writes the file."""
  flags = side.parser(__doc__)
  flags.add_argument("--file", required=True, help="where the arrays go")
  args = flags.parse_args()
  size = side.size_of(args)
  model = torch_model.build(size)
  draw(model)
  ids, mask, advantages = torch_step.batch(size, 0, "cpu")
  tokens = size.completion_tokens
  with torch.no_grad():
    logprobs = torch_step.logprobs(model, ids, mask, tokens)
  loss = torch_step.share_of_loss(
    model, ids, mask, advantages, tokens, size.sequences
  )
  loss.backward()
  named = dict(model.named_parameters())
  prompts, prompt_mask, completions, rewards = workload.fixed_rollouts(size, 0)
  np.savez(
    args.file,
    **{f"weight/{name}": x.detach().numpy() for name, x in named.items()},
    **{f"gradient/{name}": x.grad.numpy() for name, x in named.items()},
    prompts=prompts,
    prompt_mask=prompt_mask,
    completions=completions,
    rewards=rewards,
    advantages=advantages.numpy(),
    logprobs=logprobs.numpy(),
    loss=loss.detach().numpy(),
  )


if __name__ == "__main__":
  main()
