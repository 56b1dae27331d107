"""What doubt is worth to a policy: forbidden, and injected into failures.

python -m benchmarks.doubt --workdir=runs/study/warm_0 \
    --out=benchmarks/results/doubt.json

Two experiments of "Understanding Reasoning in LLMs through Strategic
Information Allocation under Uncertainty" (https://arxiv.org/abs/2603.15500) on
a run's model. Suppression: the held-out problems with and without its markers,
from the same random numbers. Injection: failed responses are cut after a share
of their tokens and continued behind a marker, or behind nothing. And how
log-probability and entropy of the markers lie among those of all tokens.
"""

import dataclasses
import json
import pathlib

from absl import app
from absl import flags
from absl import logging
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measurement
from benchmarks import runs
from rlvr_jax import evaluation
from rlvr_jax import keys
from rlvr_jax import programs as programs_lib
from rlvr_jax import records
from rlvr_jax import rewards
from rlvr_jax import sharding
from rlvr_jax.analysis import histograms
from rlvr_jax.analysis import injection
from rlvr_jax.metrics import marker_tokens
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import sampler

_WORKDIR = flags.DEFINE_string("workdir", None, "A run.", required=True)
_OUT = flags.DEFINE_string("out", "", "Where the JSON goes; empty: nowhere.")
_CONTINUATIONS = 4
_FAILURES = 200


def suppression(run, experiment, task, params) -> dict:
  """Held-out accuracy with and without markers."""
  found = {}
  for suppresses in (False, True):
    config = dataclasses.replace(run.evaluation, suppresses_markers=suppresses)
    changed = dataclasses.replace(run, evaluation=config)
    programs = programs_lib.make_programs(
      experiment._replace(run=changed), task, sharding.make_mesh(run.mesh)
    )
    result = evaluation.evaluate(
      programs.take,
      programs.decode,
      params,
      programs.task.test,
      config=config,
      vocabulary=task.vocabulary,
      markers=run.epistemic.markers,
    )
    found["suppressed" if suppresses else "free"] = (
      result.metrics | result.words
    )
  return found


def injected(run, task, params, rollouts) -> list[dict]:
  """Recovery of failed responses by where they are cut and what follows."""
  vocabulary = task.vocabulary
  ids = marker_tokens.marker_token_ids(
    vocabulary.symbols, run.epistemic.markers
  )
  phrases = [(i,) for i in ids]
  given = injection.inject(
    rollouts,
    phrases=phrases,
    length=run.data.prompt_tokens + run.rollout.completion_tokens + 1,
    pad_id=vocabulary.pad_id,
    num_rows=_FAILURES,
  )
  generate = jax.jit(
    lambda params, prompts: sampler.generate(
      transformer.Transformer(run.model),
      params,
      prompts,
      keys.stream_key(run.seed, "probe"),
      config=dataclasses.replace(run.rollout, num_generations=_CONTINUATIONS),
      stop_ids=vocabulary.stop_ids,
      pad_id=vocabulary.pad_id,
    )
  )
  whole = injection.whole_responses(
    given, generate(params, given.prompts), pad_id=vocabulary.pad_id
  )
  judged = rewards.judge(whole, getattr(rewards, run.data.verifier))
  return [
    recovery._asdict()
    | {"phrase": vocabulary.decode(recovery.phrase) if recovery.phrase else ""}
    for recovery in injection.recovery_table(
      given, np.asarray(judged.is_correct), np.asarray(judged.valid)
    )
  ]


def positions(run, task, rollouts: records.RolloutBatch) -> dict:
  """Markers among all tokens: the alignment plot as numbers."""
  table = histograms.token_table(
    completion_tokens=np.asarray(rollouts.completion_tokens),
    logprobs=np.asarray(records.fields(rollouts)["frozen_logprobs"]),
    entropies=np.asarray(rollouts.frozen_entropies),
    mask=np.asarray(rollouts.completion_mask),
    vocab_size=len(task.vocabulary.symbols),
  )
  return {
    symbol: {
      "count": int(table.counts[i]),
      "mean_logprob": float(table.mean_logprobs[i]),
      "mean_entropy": float(table.mean_entropies[i]),
    }
    for i, symbol in enumerate(task.vocabulary.symbols)
    if table.counts[i] > 0
  }


def main(argv):
  """Measures and reports."""
  del argv
  logging.set_verbosity(logging.ERROR)
  folder = pathlib.Path(_WORKDIR.value)
  experiment, task, programs = runs.opened(folder)
  run, params = experiment.run, runs.newest_state(folder, programs).params
  held_out = jax.tree.map(
    lambda x: jnp.asarray(x)[: run.evaluation.num_prompts], task.test.prompts
  )
  scalar = lambda x: jnp.asarray(x, jnp.int32)
  rollouts, _ = programs.collect(params, scalar(run.seed), scalar(0), held_out)
  report = {
    "suppression": suppression(run, experiment, task, params),
    "injection": injected(run, task, params, rollouts),
    "positions": positions(run, task, rollouts),
  }
  print(json.dumps(report, indent=1))
  measurement.write(_OUT.value, report)


if __name__ == "__main__":
  app.run(main)
