"""Every diagnosis: its rule, what to turn, and what else it explains.

A cause comes with symptoms that have rules of their own: too high a learning
rate also collapses the entropy. `explains` says which; a diagnosis that another
one explains is told as its sign and not as a cause.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rlvr_jax.diagnosis import batches
from rlvr_jax.diagnosis import learning
from rlvr_jax.diagnosis import sampling
from rlvr_jax.diagnosis import series


class Turn(NamedTuple):
  """A knob.

  Attributes:
    setting: dotted path below config.
    how: what to do with it, such as "lower".
  """

  setting: str
  how: str


class Cause(NamedTuple):
  """A row of the table.

  Attributes:
    rule: its name is that of the diagnosis, its first line what it says.
    turns: what to change, the likeliest first.
    otherwise: what comes of it if nothing is done, and where no knob helps,
      what to look at.
    explains: names of diagnoses that are its signs where both are found.
  """

  rule: Callable[[series.Run], tuple[str, ...] | None]
  turns: tuple[Turn, ...]
  otherwise: str
  explains: tuple[str, ...] = ()

  @property
  def name(self) -> str:
    return self.rule.__name__

  @property
  def says(self) -> str:
    return self.rule.__doc__.splitlines()[0].rstrip(".")


class Diagnosis(NamedTuple):
  """What was found in a run.

  Attributes:
    name: of the cause.
    says: what is wrong, in a line.
    evidence: sentences with figures and steps.
    turns: sentences, each with a setting, a direction and the value it has.
    otherwise: the likely consequence.
    signs: names of other diagnoses that this one explains.
  """

  name: str
  says: str
  evidence: tuple[str, ...]
  turns: tuple[str, ...]
  otherwise: str
  signs: tuple[str, ...]


_UNIFORM = ("all_wrong_groups", "all_right_groups")
# What becomes of a policy that is led astray.
_ASTRAY = (
  *_UNIFORM,
  "truncation",
  "length_explosion",
  "entropy_collapse",
  "kl_blow_up",
  "log_z_not_tracking",
)
_SAMPLED_OTHERWISE = (*_ASTRAY, "clip_saturation", "learning_rate_too_high")

# The most fundamental first: a row explains none above it.
TABLE = (
  Cause(
    learning.skipped_updates,
    (
      Turn("optimizer.learning_rate", "lower"),
      Turn("optimizer.clip_norm", "lower"),
      Turn("numerics.max_skipped", "raise only while looking"),
    ),
    "the same batch is lost each time it comes; its rows in skipped/ say"
    " whether a reward, a log-prob or the gradient is not a number",
  ),
  Cause(
    sampling.temperature_mismatch,
    (Turn("rollout.temperature", "set to 1.0, to see the gap go, then mend"),),
    "every ratio is off: the policy is trained as if it had said something"
    " else. The same setting reaches both sides here, so a sampler, a kernel"
    " or a server of your own leaves it out",
    _SAMPLED_OTHERWISE,
  ),
  Cause(
    sampling.top_p_mismatch,
    (
      Turn("rollout.top_p", "set to 1.0"),
      Turn("rollout.top_k", "set to 0"),
      Turn("rollout.min_p", "set to 0.0"),
    ),
    "likely tokens count as sampled too often. Or have the sampler report the"
    " mass that it kept, log_kept_mass, which is taken off here",
    _SAMPLED_OTHERWISE,
  ),
  Cause(
    sampling.stale_weights,
    (Turn("consistency.enabled", "keep True, and compare at each resume"),),
    "updates correct a policy of some steps ago and overshoot. No setting here"
    " delays weights: look at what hands them to the sampler",
    _SAMPLED_OTHERWISE,
  ),
  Cause(
    sampling.sampler_mismatch,
    (
      Turn("model.attention", "set to 'xla', to rule kernels out"),
      Turn("model.dtype", "set to float32, to rule rounding out"),
    ),
    "the gradient is that of other tokens. Rows in another order, shifted"
    " positions and a kernel that is wrong look like this",
    _SAMPLED_OTHERWISE,
  ),
  Cause(
    batches.verifier_failures,
    (
      Turn("verifier_pool.deadline_secs", "raise, where it is timeouts"),
      Turn("verifier_pool.num_workers", "raise, where it is timeouts"),
      Turn("data.unread_golds", "set to 'error', where it is gold_unparsed"),
    ),
    "what cannot be judged is never learned from, often the longest or the"
    " oddest responses; python -m rlvr_jax.audit says on which",
    _UNIFORM,
  ),
  Cause(
    batches.replay_too_old,
    (
      Turn("replay.max_age", "lower"),
      Turn("replay.min_age", "lower"),
      Turn("replay.replay_rows", "lower"),
    ),
    "updates pull back towards what the policy has left behind",
    ("kl_blow_up", "clip_saturation", "log_z_not_tracking"),
  ),
  Cause(
    learning.clip_saturation,
    (
      Turn("updates.num_minibatches", "lower"),
      Turn("optimizer.learning_rate", "lower"),
    ),
    "most tokens have lost their gradient, and the others move without bound",
    ("learning_rate_too_high", *_ASTRAY),
  ),
  Cause(
    learning.learning_rate_too_high,
    (
      Turn("optimizer.learning_rate", "lower by 10 times"),
      Turn("optimizer.warmup_steps", "raise"),
      Turn("optimizer.clip_norm", "lower"),
    ),
    "what was lost does not come back: start again from the last good"
    " checkpoint",
    _ASTRAY,
  ),
  Cause(
    learning.kl_blow_up,
    (
      Turn("kl_k3.coef", "raise, above 0"),
      Turn("kl_k2.coef", "raise, above 0"),
      Turn("regularizers", "have 'kl_k3' in it, and no term that pushes away"),
      Turn("optimizer.learning_rate", "lower"),
    ),
    "the policy forgets what it was pretrained for, beyond the training task",
    (*_UNIFORM, "truncation", "length_explosion", "entropy_collapse"),
  ),
  Cause(
    learning.entropy_collapse,
    (
      Turn("entropy_bonus.coef", "raise, above 0"),
      Turn("regularizers", "have 'entropy_bonus' in it"),
      Turn("token_loss.clip_high", "raise"),
      Turn("rollout.temperature", "raise"),
    ),
    "samples of a prompt are alike, so groups hold one verdict and nothing is"
    " found any more; pass@n falls to pass@1",
    _UNIFORM,
  ),
  Cause(
    batches.length_explosion,
    (
      Turn("reward_shaping", "add a price on length"),
      Turn("data.verifier", "see whether it prefers length"),
    ),
    "steps take ever longer and end in cut-off responses",
    ("truncation",),
  ),
  Cause(
    batches.truncation,
    (
      Turn("rollout.completion_tokens", "raise"),
      Turn("pretrained.stop_tokens", "add the end token of the template"),
    ),
    "responses count as wrong for their length, and the policy learns to be"
    " short or nothing at all",
    ("all_wrong_groups",),
  ),
  Cause(
    learning.log_z_not_tracking,
    (
      Turn("log_partition.optimizer.learning_rate", "raise"),
      Turn("log_partition.probe_prompts", "raise"),
    ),
    "the loss pulls towards a wrong total, and selection picks prompts at"
    " random",
    _UNIFORM,
  ),
  Cause(
    batches.all_wrong_groups,
    (
      Turn("data.variant", "choose an easier one"),
      Turn("warm_start.num_steps", "raise"),
      Turn("rollout.num_generations", "raise"),
      Turn("refill.max_rounds", "raise"),
    ),
    "without a right sample there is nothing to reinforce: the reward stays"
    " where it is",
  ),
  Cause(
    batches.all_right_groups,
    (
      Turn("data.variant", "choose a harder one"),
      Turn("selection.name", "choose nearest_accuracy"),
      Turn("refill.max_rounds", "raise"),
    ),
    "most of what is sampled teaches nothing; look at samples, too, for a"
    " verifier that is easily pleased",
  ),
  Cause(
    learning.recompiles,
    (Turn("data.verifier", "look for new shapes at each step"),),
    "each costs seconds here and minutes with a large model. The run's own"
    " programs never do it (the run stops): it is a function of yours, such as"
    " a verifier or a hook, that sees a new shape",
  ),
)
NAMES = tuple(cause.name for cause in TABLE)


def diagnose(run: series.Run) -> list[Diagnosis]:
  """What is wrong with a run, the causes alone, the most fundamental first.

  Args:
    run: with at least one step.
  """
  found = {
    cause.name: evidence
    for cause in TABLE
    if (evidence := cause.rule(run)) is not None
  }
  return [
    Diagnosis(
      name=cause.name,
      says=cause.says,
      evidence=found[cause.name],
      turns=tuple(_sentence(turn, run) for turn in cause.turns),
      otherwise=cause.otherwise,
      signs=tuple(name for name in cause.explains if name in found),
    )
    for cause in unexplained(TABLE, found)
  ]


def unexplained(table: Sequence[Cause], found: Any) -> list[Cause]:
  """The rows found that no other row found explains, in order."""
  present = [cause for cause in table if cause.name in found]
  explained = {name for cause in present for name in cause.explains}
  return [cause for cause in present if cause.name not in explained]


def _sentence(turn: Turn, run: series.Run) -> str:
  value = series.setting(run, turn.setting)
  has = "not set" if value is None else f"is {value!r}"
  return f"config.{turn.setting} ({has}): {turn.how}"
