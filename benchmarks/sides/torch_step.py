"""A GRPO update on given rollouts, as a careful hand writes it in PyTorch.

No library around it: logits of completion positions alone, the clipped
surrogate, AdamW. It has no sampler, and measures no entropy.
"""

import torch
from torch.nn import functional

from benchmarks import workload
from benchmarks.sides import side
from benchmarks.sides import torch_model


def batch(
  size: workload.Size, step: int, device: str
) -> tuple[torch.Tensor, ...]:
  """Ids i64[B, P + T], mask i64[B, P + T] and advantages f32[B] of a step."""
  prompts, mask, completions, rewards = map(
    torch.from_numpy, workload.fixed_rollouts(size, step)
  )
  ids = torch.cat([prompts, completions], dim=1).long()
  mask = torch.cat([mask, torch.ones_like(completions, dtype=bool)], dim=1)
  groups = rewards.view(size.prompts, size.samples)
  centred = groups - groups.mean(dim=1, keepdim=True)
  advantages = centred / (groups.std(dim=1, keepdim=True) + 1e-6)
  found = (ids, mask.long(), advantages.view(-1))
  return tuple(x.to(device) for x in found)


def logprobs(model, ids, mask, tokens: int) -> torch.Tensor:
  """Of the last `tokens` tokens of each row, f32[B, T]."""
  places = (mask.cumsum(dim=1) - 1).clamp(min=0)
  # The place before a token predicts it: one more to the left, none behind.
  logits = model(
    input_ids=ids,
    attention_mask=mask,
    position_ids=places,
    use_cache=False,
    logits_to_keep=tokens + 1,
  ).logits[:, :-1]
  taken = ids[:, -tokens:]
  losses = functional.cross_entropy(
    logits.float().flatten(0, 1), taken.flatten(), reduction="none"
  )
  return -losses.view(taken.shape)


def share_of_loss(
  model, ids, mask, advantages, tokens: int, sequences: int
) -> torch.Tensor:
  """What some rows add to the loss of all `sequences`, f32[]."""
  live = logprobs(model, ids, mask, tokens)
  # Nothing was updated since the rollout: the old policy is this one.
  ratio = torch.exp(live - live.detach())
  clipped = ratio.clamp(1 - workload.CLIP, 1 + workload.CLIP)
  credit = advantages[:, None]
  losses = -torch.minimum(ratio * credit, clipped * credit)
  return losses.mean(dim=1).sum() / sequences


def main():
  """Times updates and reports."""
  flags = side.parser(__doc__)
  flags.add_argument(
    "--compile", action="store_true", help="torch.compile of forward and loss"
  )
  args = flags.parse_args()
  size = side.size_of(args)
  setting = torch_model.setting(args)
  model = torch_model.build(size).to(setting.device, setting.dtype).train()
  before = model.model.embed_tokens.weight.detach().clone()
  optimizer = torch.optim.AdamW(
    model.parameters(),
    lr=workload.LEARNING_RATE,
    betas=workload.BETAS,
    eps=workload.ADAM_EPSILON,
    weight_decay=workload.WEIGHT_DECAY,
    fused=True,
  )
  loss_function = share_of_loss
  if args.compile:
    loss_function = torch.compile(share_of_loss, dynamic=False)
  losses, norms = [], []
  for step in range(args.steps):
    whole = batch(size, step, setting.device)
    with setting.clock.span("step"), setting.clock.span("update"):
      total = 0.0
      parts = (x.chunk(size.micro_batches) for x in whole)
      for part in zip(*parts, strict=True):
        loss = loss_function(
          model, *part, size.completion_tokens, size.sequences
        )
        loss.backward()
        total += loss.detach()
      norm = torch.nn.utils.clip_grad_norm_(
        model.parameters(), workload.CLIP_NORM
      )
      optimizer.step()
      optimizer.zero_grad(set_to_none=True)
    losses.append(float(total))
    norms.append(float(norm))
  side.write(
    args,
    side.report(
      args,
      size,
      setting.clock,
      name="torch_compiled" if args.compile else "torch",
      parameters=torch_model.parameters(model),
      checks={
        "loss": losses,
        "grad_norm": norms,
        "weights_moved": not torch.equal(
          before, model.model.embed_tokens.weight
        ),
      },
      **setting.told(),
    ),
  )


if __name__ == "__main__":
  main()
