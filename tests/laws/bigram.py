"""The smallest model with the transformer's interface.

Objectives see a model through its log-probabilities alone, so that laws about
them need no attention; these compile in a fraction of the time.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp


class Bigram(nn.Module):
  """Predicts a token from the one before it."""

  vocab_size: int
  width: int = 4
  # On a mesh, the compiler splits everything.
  partition: None = None

  def setup(self):
    normal = nn.initializers.normal(1.0)
    shape = (self.vocab_size, self.width)
    self.embedding = self.param("embedding", normal, shape)
    self.lm_head = self.param("lm_head", normal, shape[::-1])

  def __call__(
    self, tokens, positions, mask=None, prefix=None, prefix_mask=None
  ) -> tuple[jax.Array, None]:
    del positions, mask, prefix, prefix_mask
    return jnp.tanh(self.embedding[tokens]), None

  def unembedding(self) -> jax.Array:
    return self.lm_head


def bigram_model(vocab_size: int):
  """A model and its parameters."""
  model = Bigram(vocab_size)
  tokens = jnp.zeros((1, 1), jnp.int32)
  params = model.init(jax.random.key(0), tokens, tokens, None)["params"]
  return model, params
