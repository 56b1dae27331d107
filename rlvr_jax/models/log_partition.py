"""The learned log-partition head, log Z(x) of a prompt.

"Beyond Normalization: Rethinking the Partition Function as a Difficulty
Scheduler for RLVR" (https://arxiv.org/abs/2602.12642) reads inv_temp^-1 log Z
as an estimate of the prompt's accuracy; FlowRL
(https://arxiv.org/abs/2509.15207) trains such a head inside its loss.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp


class LogPartition(nn.Module):
  """A three-layer MLP on a prompt embedding, in accuracy units.

  log_partition = inv_temp * f(embedding), with f = (Linear, GELU, LayerNorm)
  twice, then Linear to one number. The last kernel starts at zero and the last
  bias at `initial_accuracy`, so that f starts as that accuracy everywhere.

  Three layers on a precomputed prompt embedding: [paper excerpt: digest] for
  PACED-RL; activation, norm and width: FlowRL's released head [code]; accuracy
  units and initial values: [inferred].

  Attributes:
    inv_temp: kappa, multiplies rewards in the trajectory-balance loss; equals
      FlowRL's beta and 1 / beta of PACED-RL.
    initial_accuracy: in [0, 1].
  """

  inv_temp: float
  initial_accuracy: float = 0.5

  @nn.compact
  def __call__(self, prompt_embedding: jax.Array) -> jax.Array:
    """Maps f32[G, D] to log_partition f32[G], in nats, in float32."""
    x = prompt_embedding.astype(jnp.float32)
    width = x.shape[-1]
    for layer in (0, 1):
      x = nn.LayerNorm(name=f"norm_{layer}")(
        nn.gelu(nn.Dense(width, name=f"hidden_{layer}")(x))
      )
    accuracy = nn.Dense(
      1,
      kernel_init=nn.initializers.zeros,
      bias_init=nn.initializers.constant(self.initial_accuracy),
      name="accuracy",
    )(x)
    return self.inv_temp * accuracy[:, 0]
