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
  """A three-layer MLP on a prompt embedding, one number per prompt.

  (Linear, GELU, LayerNorm) twice, then Linear to one number. The last kernel
  starts at zero and the last bias at `initial`, so that the head starts as
  that number everywhere.

  Three layers on a precomputed prompt embedding: [paper excerpt: digest] for
  PACED-RL; activation, norm and width: FlowRL's released head [code]; initial
  values: [inferred]. Differs: FlowRL's head has dropout 0.1, which gives the
  rows of a prompt different values; there is none here.

  Attributes:
    initial: value at the start.
  """

  initial: float = 0.5

  @nn.compact
  def __call__(self, embeddings: jax.Array) -> jax.Array:
    """Maps f32[G, D] to f32[G], in float32."""
    x = embeddings.astype(jnp.float32)
    width = x.shape[-1]
    for layer in (0, 1):
      x = nn.LayerNorm(name=f"norm_{layer}")(
        nn.gelu(nn.Dense(width, name=f"hidden_{layer}")(x))
      )
    value = nn.Dense(
      1,
      kernel_init=nn.initializers.zeros,
      bias_init=nn.initializers.constant(self.initial),
      name="value",
    )(x)
    return value[:, 0]
