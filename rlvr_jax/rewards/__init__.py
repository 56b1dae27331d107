"""Verifiers: what a completion is worth, and why.

A device verifier is a pure function of token ids and answers; it returns how
each row ended, i32[B], an index into `records.OUTCOMES`. `judge` turns that
into rewards. Each has a plain Python twin that says the same of a text.

  countdown_outcomes  equations that use every number once and end in a target
  chain_outcomes      the number after the last "#" is the answer
  dyck_outcomes       the closing brackets that a word lacks
  option_outcomes     the letters of all options that are true
  equation_outcomes   the prompt's equation, its hidden digits filled in
  closeness           graded reward of a numeric prediction
"""

from rlvr_jax.rewards.boolean_expressions import option_outcome_of_text
from rlvr_jax.rewards.boolean_expressions import option_outcomes
from rlvr_jax.rewards.countdown import countdown_outcome_of_text
from rlvr_jax.rewards.countdown import countdown_outcomes
from rlvr_jax.rewards.dyck import dyck_outcome_of_text
from rlvr_jax.rewards.dyck import dyck_outcomes
from rlvr_jax.rewards.judge import device_outcomes
from rlvr_jax.rewards.judge import judge
from rlvr_jax.rewards.judge import with_outcomes
from rlvr_jax.rewards.math_path import equation_outcome_of_text
from rlvr_jax.rewards.math_path import equation_outcomes
from rlvr_jax.rewards.random_calculation import chain_outcome_of_text
from rlvr_jax.rewards.random_calculation import chain_outcomes
from rlvr_jax.rewards.random_calculation import closeness

__all__ = [
  "chain_outcome_of_text",
  "chain_outcomes",
  "closeness",
  "countdown_outcome_of_text",
  "countdown_outcomes",
  "device_outcomes",
  "dyck_outcome_of_text",
  "dyck_outcomes",
  "equation_outcome_of_text",
  "equation_outcomes",
  "judge",
  "option_outcome_of_text",
  "option_outcomes",
  "with_outcomes",
]
