"""A run whose parts do not agree is refused, with a table that says where."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import keys
from rlvr_jax import records
from rlvr_jax import rewards
from rlvr_jax import sharding
from rlvr_jax.data import vocabulary
from rlvr_jax.rollouts import sampler
from rlvr_jax.soundness import consistency
from rlvr_jax.verifiers import pool as pool_lib
from tests import testing

_CONFIG = consistency.ConsistencyConfig()


@functools.cache
def _rollouts():
  model, params = testing.tiny_model()
  config = sampler.SamplerConfig(4, 12, temperature=0.8, top_p=0.9)
  sample = functools.partial(
    sampler.generate,
    model,
    config=config,
    stop_ids=(testing.EOS,),
    pad_id=testing.PAD,
  )
  key = keys.stream_key(3, "sample", 1)
  return jax.jit(sample)(params, testing.prompt_batch(4, 5), key)


@functools.cache
def _gaps(temperature=0.8, num_parts=1):
  model, _ = testing.tiny_model()
  return jax.jit(
    functools.partial(
      consistency.layout_gaps,
      model=model,
      temperature=temperature,
      num_parts=num_parts,
    )
  )


def _findings(gaps, **config):
  config = consistency.ConsistencyConfig(**config)
  gaps = jax.tree.map(float, gaps)
  return consistency.gap_findings(gaps, config, jnp.float32)


@pytest.mark.parametrize("num_parts", [1, 8])
def test_a_sound_run_passes(num_parts):
  _, params = testing.tiny_model()
  findings = _findings(_gaps(num_parts=num_parts)(params, _rollouts()))
  assert len(findings) == 3 and all(x.found < 1e-5 for x in findings)
  consistency.require(findings)


def test_another_temperature_is_refused_with_a_table():
  _, params = testing.tiny_model()
  findings = _findings(_gaps(temperature=1.0)(params, _rollouts()))
  assert [x.is_good for x in findings] == [False, True, True]
  with pytest.raises(errors.UserError) as refused:
    consistency.require(findings)
  first, *lines = str(refused.value).splitlines()
  assert first.startswith("sampler against trainer: 0.") and len(lines) == 4
  assert "nats a token, and at most 0.001 is allowed" in first
  assert "another temperature" in first
  assert "config.consistency.enabled" in first
  assert "<- not good" in lines[1] and "<- not good" not in lines[2]


def test_other_weights_are_refused():
  _, params = testing.tiny_model()
  stale = jax.tree.map(lambda x: 1.02 * x, params)
  assert not _findings(_gaps()(stale, _rollouts()))[0].is_good


def test_truncation_that_is_not_told_of_is_refused():
  _, params = testing.tiny_model()
  rollouts = _rollouts()
  assert rollouts.log_kept_mass.min() < -0.01
  forgotten = jnp.zeros_like(rollouts.log_kept_mass)
  rollouts = rollouts.replace(log_kept_mass=forgotten)
  assert not _findings(_gaps()(params, rollouts))[0].is_good


def test_the_bound_is_a_setting():
  gaps = {"sampler": 0.01, "alone": 0.0, "padded": 0.0}
  assert not _findings(gaps)[0].is_good
  assert _findings(gaps, max_gap=0.02)[0].is_good
  assert consistency.gap_findings(gaps, _CONFIG, jnp.bfloat16)[0].is_good
  with pytest.raises(errors.UserError, match="max_gap is -1"):
    consistency.ConsistencyConfig(max_gap=-1.0)


def test_what_is_no_number_is_not_good():
  gaps = {"sampler": float("nan"), "alone": 0.0, "padded": 0.0}
  assert not _findings(gaps)[0].is_good


class _Lossy:
  """A tokenizer that forgets capitals."""

  def text(self, ids):
    return "".join(chr(i) for i in ids)

  def encode(self, text):
    return [ord(x) for x in text.lower()]


def test_a_tokenizer_that_changes_texts_is_refused():
  rows = np.array([[ord(x) for x in text] for text in ("__ab", "_Abc")])
  masks = np.array([[0, 0, 1, 1], [0, 1, 1, 1]])
  (finding,) = consistency.text_findings(rows, masks, _Lossy())
  assert finding.found == 1 and finding.unit == "of 2"
  assert finding.example == "'Abc' comes back as 'abc'"
  with pytest.raises(errors.UserError, match="'Abc' comes back as 'abc'"):
    consistency.require([finding])


def test_padding_is_no_text():
  symbols = vocabulary.ARITHMETIC
  row = np.array([[symbols.pad_id, *symbols.encode("6-1=5")]])
  (finding,) = consistency.text_findings(row, row > 0, symbols)
  assert finding.is_good


def _demonstrations():
  symbols = vocabulary.ARITHMETIC
  rows = [
    [*symbols.encode(text), symbols.eos_id] for text in ("2+3=5", "1+4=5")
  ]
  prompts = testing.prompt_batch(2, 3).replace(
    answers={
      "numbers": jnp.array([[2, 3], [1, 4]]),
      "target": jnp.array([5, 5]),
    }
  )
  tokens = jnp.array(rows, jnp.int32)
  return records.RolloutBatch(
    prompts=prompts,
    completion_tokens=tokens,
    completion_mask=jnp.ones(tokens.shape),
    group_ids=jnp.arange(2),
    sample_index=jnp.zeros(2, jnp.int32),
    valid=jnp.ones(2),
  )


def _device_findings(verify):
  judge = jax.jit(lambda batch: rewards.device_outcomes(batch, verify))
  return consistency.device_findings(
    judge, _demonstrations(), vocabulary.ARITHMETIC
  )


def test_a_verifier_on_device_knows_right_answers_and_nonsense():
  missed, passed = _device_findings(rewards.countdown_outcomes)
  assert missed.is_good and missed.unit == "of 2"
  assert passed.is_good and passed.unit == "of 4"


def test_a_verifier_that_refuses_right_answers_is_refused():
  wrong = records.OUTCOMES.index("wrong")
  missed, passed = _device_findings(
    lambda completion_tokens: jnp.full(2, wrong)
  )
  assert (missed.found, passed.found) == (2, 0)
  assert missed.example == "'2+3=5'"
  with pytest.raises(errors.UserError, match="that the verifier refuses: 2 of"):
    consistency.require([missed, passed])


def test_a_verifier_that_takes_anything_is_refused():
  missed, passed = _device_findings(
    lambda completion_tokens: jnp.zeros(2, jnp.int32)
  )
  assert (missed.found, passed.found) == (0, 4)
  assert not passed.is_good


def takes_anything(response: str, gold: str) -> str:
  """A verifier of texts."""
  del response, gold
  return "correct"


@pytest.mark.parametrize(
  "verifier, found",
  [
    ("numeric", (0, 0)),
    ("tests.soundness.consistency_test:takes_anything", (0, 8)),
  ],
)
def test_verifiers_of_texts(verifier, found):
  config = pool_lib.PoolConfig(verifier=verifier, num_workers=1)
  with pool_lib.Pool(config) as pool:
    findings = consistency.pool_findings(pool, verifier, ["1/2", "7", "7"])
  assert tuple(x.found for x in findings) == found


def refuses_all(response: str, gold: str) -> str:
  """A verifier of texts."""
  del response
  return "gold_unparsed" if gold == "x+1" else "wrong"


def test_golds_that_a_verifier_refuses_are_named():
  name = "tests.soundness.consistency_test:refuses_all"
  config = pool_lib.PoolConfig(verifier=name, num_workers=1)
  with pool_lib.Pool(config) as pool:
    # As if it were one of ours. What cannot be read is told of elsewhere.
    missed, passed = consistency.pool_findings(pool, "exact", ["3", "x+1"])
  assert (missed.found, missed.unit, missed.example) == (1, "of 2", "'3'")
  assert passed.found == 0


@pytest.mark.parametrize("device", [0, 5])
def test_weights_that_devices_hold_in_several_versions_are_refused(device):
  mesh = sharding.make_mesh(sharding.MeshConfig(data=4, fsdp=2))
  places = sharding.replicated(mesh), sharding.row_sharding(mesh)
  whole = jax.device_put(jnp.arange(6.0), places[0])
  split = jax.device_put(jnp.arange(16.0), places[1])
  (finding,) = consistency.weight_findings({"whole": whole, "split": split})
  # Seven copies of the one; of the other each device has its own part.
  assert finding.found == 0 and finding.unit == "of 7"
  copies = [np.arange(6.0) + (i == device) * 1e-7 for i in range(mesh.size)]
  odd = jax.make_array_from_single_device_arrays(
    (6,),
    places[0],
    [
      jax.device_put(jnp.asarray(x, jnp.float32), d)
      for x, d in zip(copies, mesh.devices.flat, strict=True)
    ],
  )
  (finding,) = consistency.weight_findings({"whole": odd})
  assert finding.found == (7 if device == 0 else 1)
  assert finding.example.startswith("whole")
