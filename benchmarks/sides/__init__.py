"""The libraries that are compared: each a process of its own interpreter.

  ours              sampler.generate, rewards, update.train_step
  trl_trainer       TRL's GRPOTrainer, sampling by transformers
  tunix_learner     Tunix's GRPOLearner, sampling by its own sampler
  torch_step        an update on given rollouts, by hand in PyTorch
  torch_generate    transformers' generate, sampling alone
  torch_oracle      what PyTorch makes of fixed weights and rollouts
  tunix_same        what Tunix makes of the same
  ours_same         what rlvr_jax makes of the same

`benchmarks.processes` starts them. By hand ours is

python -m benchmarks.sides.ours --size S --steps 8 --json FILE

and a peer's side is the same by its own interpreter, from a folder that holds
nothing but a link to `benchmarks`.
"""

from benchmarks import machine

STARTED = machine.look()
