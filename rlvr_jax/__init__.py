"""RLVR in JAX: reinforcement learning with verifiable rewards for reasoning.

Data goes one way, and each room is a package of pure functions:

  data -> rollouts -> rewards -> advantages, token_weights -> losses -> update

`records` holds what flows, `objective` binds a method's functions by name,
`train` is the loop. Importing this package starts no device.
"""

__version__ = "0.1.0"
