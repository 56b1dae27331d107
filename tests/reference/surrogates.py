"""Losses that freeze a part of themselves.

Their `_surrogate` takes the frozen log-probabilities apart from the live ones,
so that finite differences leave them alone.
"""

import inspect


def at_itself(surrogate):
  """The loss: what is frozen are the live log-probabilities."""

  def loss(*, logprobs, **fields):
    return surrogate(logprobs=logprobs, frozen_logprobs=logprobs, **fields)

  signature = inspect.signature(surrogate)
  loss.__signature__ = signature.replace(
    parameters=[
      parameter
      for name, parameter in signature.parameters.items()
      if name != "frozen_logprobs"
    ]
  )
  return loss
