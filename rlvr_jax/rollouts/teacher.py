"""The teacher: the policy itself, shown what the student was not.

One forward pass without gradient over the same completions behind longer
prompts. It gives log-probabilities of the tokens taken, entropies and, where a
method distils, log-probabilities of K candidate tokens.
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
import optax

from rlvr_jax import names
from rlvr_jax import records
from rlvr_jax import settings
from rlvr_jax.data import templates
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import demonstrations
from rlvr_jax.rollouts import scoring

WEIGHTS = ("current", "frozen", "ema")
# What only a teacher fills.
FIELDS = (
  "teacher_logprobs",
  "teacher_entropies",
  "has_teacher",
  "support_logprobs",
  "teacher_support_logprobs",
)


@dataclasses.dataclass(frozen=True)
class TeacherConfig:
  """Who the teacher is and what it is shown.

  Example: TeacherConfig("{demonstration}|{prompt}", prompt_tokens=26).
  """

  # Text with {prompt} and {demonstration}.
  template: str
  # Length of the bucket that holds a filled template; a demonstration that
  # does not fit loses its beginning.
  prompt_tokens: int
  # "sibling": a correct sample of the same prompt; "gold_answer" or
  # "gold_solution" of the data set; or your own as "module:function".
  context: str = "sibling"
  # "current" weights at the start of the step, "frozen" ones of step 0, or
  # "ema", which follows the policy.
  weights: str = "current"
  # Share of the way that "ema" goes towards the policy in a step.
  ema_rate: float = 0.05
  # Rows with a teacher that are read at a time: without others among them,
  # passes that no row needs are skipped. 0 reads all rows at once.
  rows_per_pass: int = 0
  # Right responses alone have a teacher: all that RLRT's gate lets through.
  correct_only: bool = False
  # Candidates of a distillation loss: the student's most likely tokens; 0
  # takes the whole vocabulary.
  top_k: int = 0
  # Show only what follows the closing tag of thinking.
  strips_thinking: bool = False

  def __post_init__(self):
    settings.require(
      self.weights in WEIGHTS,
      f"config.teacher.weights is {self.weights!r}:"
      f" {names.did_you_mean(self.weights, WEIGHTS)}",
    )
    settings.require(
      0.0 <= self.ema_rate <= 1.0,
      f"config.teacher.ema_rate is {self.ema_rate}: a share lies in 0 .. 1",
    )
    for name in ("rows_per_pass", "top_k"):
      value = getattr(self, name)
      settings.require(
        value >= 0, f"config.teacher.{name} is {value}: set it to 0 or more"
      )
    templates.parse(self.template, lambda text: ())


def pieces_of(
  config: TeacherConfig,
  encode: Callable[[str], Sequence[int]],
  prompt_tokens: int,
) -> tuple[templates.Piece, ...]:
  """The template's pieces, once they are known to leave room.

  Args:
    config: of the teacher.
    encode: text -> token ids.
    prompt_tokens: length of the student's prompt bucket.

  Raises:
    errors.UserError: if no token of a demonstration would fit.
  """
  pieces = templates.parse(config.template, encode)
  least = prompt_tokens + templates.literal_tokens(pieces) + 1
  settings.require(
    config.prompt_tokens >= least,
    f"config.teacher.prompt_tokens is {config.prompt_tokens}, but a prompt and"
    f" the template alone take {least - 1}: set it to {least} or more, and the"
    " demonstration's length besides",
  )
  return pieces


def show(
  rollouts: records.RolloutBatch,
  context: demonstrations.Context,
  config: TeacherConfig,
  pieces: Sequence[templates.Piece],
  *,
  stop_ids: Sequence[int],
  pad_id: int,
  end_of_thinking_id: int = -1,
  tail: Sequence[int] = (),
) -> tuple[records.PromptBatch, jax.Array, dict[str, jax.Array]]:
  """The teacher's prompt of each row.

  Args:
    rollouts: judged.
    context: picks the demonstrations.
    config: of the teacher.
    pieces: of its template.
    stop_ids: every token that ends a completion.
    pad_id: padding token.
    end_of_thinking_id: closing tag, where thinking is stripped.
    tail: what every prompt ends with, see `templates.fill`.

  Returns:
    PromptBatch with B prompts; has_teacher f32[B]; and metrics f32[] over rows
    with a teacher: the mean length of a demonstration in tokens as shown, and
    the share of rows whose demonstration was cut.
  """
  shown = context(rollouts, stop_ids)
  if config.strips_thinking:
    shown = demonstrations.without_thinking(shown, end_of_thinking_id)
  samples = rollouts.completion_tokens.shape[0]
  samples //= rollouts.prompts.prompt_ids.shape[0]
  prompts = rollouts.prompts.replace(hints=None)
  prompts = jax.tree.map(lambda x: jnp.repeat(x, samples, axis=0), prompts)
  filled, lost = templates.fill(
    pieces,
    prompts,
    shown.tokens,
    shown.mask,
    width=config.prompt_tokens,
    pad_id=pad_id,
    tail=tail,
  )
  read = rollouts.valid > 0
  if config.correct_only:
    read &= rollouts.is_correct > 0
  has_teacher = jnp.where(read, shown.exists, 0.0)
  length = jnp.sum(shown.mask, axis=1) - lost
  mean = lambda x: records.Mean(
    jnp.sum(x * has_teacher), jnp.sum(has_teacher)
  ).value()
  return (
    filled,
    has_teacher,
    {
      "teacher/demonstration_tokens": mean(length),
      "teacher/cut_frac": mean((lost > 0).astype(jnp.float32)),
    },
  )


def score(
  model: transformer.Transformer,
  params: Any,
  prompts: records.PromptBatch,
  completion_tokens: jax.Array,
  has_teacher: jax.Array,
  *,
  temperature: float,
  rows_per_pass: int = 0,
  support_ids: jax.Array | None = None,
  full_support: bool = False,
  constrain: Callable[[Any], Any] = lambda rows: rows,
) -> scoring.TokenScores:
  """Scores the completions behind the teacher's prompts.

  Args:
    model: the transformer.
    params: of the teacher.
    prompts: B prompts of `show`.
    completion_tokens: i32[B, T].
    has_teacher: f32[B].
    temperature: the sampler's.
    rows_per_pass: see TeacherConfig; divides B.
    support_ids: see `scoring.score_completions`.
    full_support: see `scoring.score_completions`.
    constrain: spreads the rows of one pass over the devices.

  Returns:
    TokenScores without embeddings; zero on rows that were not read.
  """

  def read(rows) -> scoring.TokenScores:
    prompts, completion_tokens, support_ids = rows
    scores = scoring.score_completions(
      model,
      params,
      prompts,
      completion_tokens,
      temperature=temperature,
      support_ids=support_ids,
      full_support=full_support,
    )
    return scores.replace(embeddings=None)

  rows = (prompts, completion_tokens, support_ids)
  if not rows_per_pass:
    return read(rows)
  # Rows with a teacher first, so that they fill the first passes.
  order = jnp.argsort(-has_teacher, stable=True)

  def one_pass(chosen: jax.Array) -> scoring.TokenScores:
    picked = constrain(jax.tree.map(lambda x: x[chosen], rows))
    shapes = jax.eval_shape(read, picked)
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    needed = jnp.any(has_teacher[chosen] > 0)
    return lax.cond(needed, read, lambda _: nothing, picked)

  scores = lax.map(one_pass, order.reshape(-1, rows_per_pass))
  back = jnp.argsort(order)
  return jax.tree.map(
    lambda x: x.reshape(order.shape[0], *x.shape[2:])[back], scores
  )


def follow(
  state: records.TrainState, config: TeacherConfig | None
) -> records.TrainState:
  """Moves an "ema" teacher towards the policy; once per rollout batch."""
  if not config or config.weights != "ema":
    return state
  return state.replace(
    teacher_params=optax.incremental_update(
      state.params, state.teacher_params, config.ema_rate
    )
  )


def params_of(state: records.TrainState, config: TeacherConfig) -> Any:
  """The teacher's parameters."""
  return {
    "current": state.params,
    "frozen": state.ref_params,
    "ema": state.teacher_params,
  }[config.weights]
