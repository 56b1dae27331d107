"""Reductions by loops over tokens, in float64: sum and count."""

from tests.reference import grid


def token_mean(*, token_losses, loss_mask, completion_mask, over_kept=False):
  """Sum and count."""
  total = count = 0.0
  for cell in grid.every(token_losses):
    if loss_mask[cell]:
      total += token_losses[cell]
    if loss_mask[cell] if over_kept else completion_mask[cell]:
      count += 1
  return total, count


def sequence_mean(*, token_losses, loss_mask, completion_mask, over_kept=False):
  """Sum and count."""
  total = count = 0.0
  for row in range(len(token_losses)):
    tokens = range(len(token_losses[row]))
    kept = [t for t in tokens if loss_mask[row, t]]
    counted = (
      kept if over_kept else [t for t in tokens if completion_mask[row, t]]
    )
    if counted:
      total += sum(token_losses[row, t] for t in kept) / len(counted)
      count += 1
  return total, count


def fixed_length(*, token_losses, loss_mask, completion_mask, length=0):
  """Sum and count."""
  total = count = 0.0
  for row in range(len(token_losses)):
    for t in range(len(token_losses[row])):
      if loss_mask[row, t]:
        total += token_losses[row, t]
    if any(completion_mask[row]):
      count += length if length else len(token_losses[row])
  return total, count
