"""The training program: set up, warm start, restore, loop.

python -m rlvr_jax.train --config=experiments/grpo.py:tiny --workdir=runs/grpo

Any setting can be overridden: --config.seed=3 --config.num_steps=60. Starting
again in the same folder resumes and ends with the same numbers.
"""

import pathlib
from typing import Any

import jax

from rlvr_jax import boards as boards_lib
from rlvr_jax import checkpoints
from rlvr_jax import cluster
from rlvr_jax import compilations
from rlvr_jax import evaluation
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import gather
from rlvr_jax import hosts
from rlvr_jax import launch
from rlvr_jax import programs as programs_lib
from rlvr_jax import record as record_lib
from rlvr_jax import records
from rlvr_jax import sharding
from rlvr_jax import summary
from rlvr_jax import teaching
from rlvr_jax import token_columns
from rlvr_jax import tracing
from rlvr_jax import verification
from rlvr_jax import warm_start
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.data import builders
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import tasks
from rlvr_jax.metrics import progress as progress_lib
from rlvr_jax.soundness import determinism
from rlvr_jax.soundness import gate
from rlvr_jax.soundness import numerics
from rlvr_jax.soundness import versions
from rlvr_jax.weights import pretrained

_CONFIG = launch.define_config_flag()
_WORKDIR = launch.define_workdir_flag()
cluster.define_flags()
determinism.define_flag()


def main() -> None:
  """Runs the experiment of the flags."""
  config, folder = launch.config(_CONFIG), launch.folder(_WORKDIR)
  workdir_lib.check_same_config(config)
  with hosts.together():
    experiment = experiment_lib.load(config)
    run, tokenizer = experiment.run, None
    if run.pretrained:
      pretrained.check(run.pretrained, run.model)
      tokenizer = pretrained.tokenizer(run.pretrained, run.model)
    else:
      builders.require_known(run.data.name)
    mesh = sharding.make_mesh(run.mesh)
  if run.pretrained:
    pretrained.check_same(run.pretrained)
  progress = progress_lib.Progress(is_silent=not hosts.is_first())
  if determinism.is_wanted():
    progress.say(determinism.promise(jax.default_backend()))
  watch = compilations.Watch()
  with (
    progress,
    hosts.entered_by_first(workdir_lib.claimed(folder, config)),
    launch.StopRequest() as stop,
  ):
    workdir_lib.check_shared(folder)
    progress.say(f"preparing {run.data.name} in {folder}")
    progress.now("data")
    with hosts.first_before_others():
      task = tasks.load_task(
        run.data,
        run.rollout.completion_tokens,
        folder / workdir_lib.DATA,
        teaching.hints(run),
        run.out_of_domain,
        tokenizer,
      )
    tasks.check_same(task)
    for note in task.notes:
      progress.say(note)
    with verification.opened(
      run.data, run.verifier_pool, task, run.consistency.asks_verifier
    ) as judge_texts:
      if judge_texts:
        judge_texts = progress.timed("verdicts", judge_texts)
      programs = programs_lib.make_programs(experiment, task, mesh, judge_texts)
      tracing.trace(programs)
      programs = watch.watched(programs)
      # From here on, data moves between host and device only where it says so.
      with jax.transfer_guard("disallow"):
        complete = train(run, programs, folder, progress, stop, watch)
  if not hosts.is_first():
    return
  if complete:
    print(summary.finish(folder))
    print(watch.summary())
  else:
    progress.say(f"stopped; the same command goes on from {folder}")


def train(
  run: experiment_lib.Run,
  programs: programs_lib.Programs,
  folder: pathlib.Path,
  progress: progress_lib.Progress,
  stop: launch.StopRequest,
  watch: compilations.Watch,
) -> bool:
  """Trains from wherever the folder stands; False if asked to stop early."""
  with checkpoints.Checkpoints(
    folder / workdir_lib.CHECKPOINTS, run.checkpoint.keep
  ) as saved:
    first_step, probed = saved.latest_step(), {}
    if hosts.is_first() and (said := versions.record(folder, first_step or 0)):
      progress.say(said)
    progress.now("parameters")
    if first_step is None:
      params = warm_parameters(run, programs, folder, progress, stop)
      if params is None:
        return False
      initial, probed = gather.initial_log_partition(run, programs, params)
      state, first_step = programs.train.adopt(params, initial), 0
    else:
      state = saved.restore(first_step, programs.train.abstract)
      progress.say(f"resuming at step {first_step}")
    progress.now("checks")
    gate.before(run, programs, state)
    prompts = gather.prompts_with_embeddings(
      run, programs, None if first_step else state.params, folder
    )
    boards = boards_lib.opened(
      run.boards, folder, first_step or -1, progress.say
    )
    with record_lib.Record(folder, first_step, boards) as record:
      if first_step == 0:
        progress.now("evaluation")
        evaluated = evaluate_all(run, programs, state.params)
        record.write(0, probed, evaluated, watch.lap())
        if warning := record.warning(run.epistemic):
          progress.say(warning)
      return loop(
        state,
        first_step,
        run,
        programs,
        prompts,
        record,
        saved,
        progress,
        stop,
        watch,
      )


def loop(
  state: records.TrainState,
  first_step: int,
  run: experiment_lib.Run,
  programs: programs_lib.Programs,
  prompts: records.PromptBatch,
  record: record_lib.Record,
  saved: checkpoints.Checkpoints,
  progress: progress_lib.Progress,
  stop: launch.StopRequest,
  watch: compilations.Watch,
) -> bool:
  """The loop: collect, update, measure, save; False if asked to stop."""
  watch.start()
  for step in range(first_step + 1, run.num_steps + 1):
    clock = record_lib.Clock()
    progress.now("sampling")
    state, rollouts, replayed, sampled = gather.gather(
      run, programs, state, prompts
    )
    sampled = clock.wait("rollout_secs", sampled)
    if programs.teach:
      progress.now("the teacher")
      rollouts, taught = programs.teach(state, rollouts)
      sampled |= clock.wait("teacher_secs", taught)
    if step == first_step + 1:
      gate.check_rollouts(rollouts, run.log_partition is not None)
      if said := gate.check_layouts(run, programs, state, rollouts):
        progress.say(said)
    is_evaluated = (
      step % run.evaluation.every_steps == 0 or step == run.num_steps
    )
    tokens = []
    if programs.look and (is_evaluated or step == 1):
      looked = jax.device_get(programs.look(state, rollouts))
      tokens = token_columns.lines(looked, programs.task.vocabulary)
      clock.lap("look_secs")
    progress.now("the update")
    state, updated = programs.train_step(state, rollouts, replayed)
    metrics = sampled | clock.wait("update_secs", updated)
    # A save of the step before has run beside this one.
    progress.now("the checkpoint")
    if saved.settle():
      progress.saved()
    numerics.check_possible(step, metrics)
    skipped = ""
    if metrics[numerics.SKIPPED]:
      skipped = numerics.keep_skipped(
        step, metrics, rollouts, replayed, record.folder
      )
      progress.say(skipped)
    evaluated = {}
    progress.now("evaluation")
    if is_evaluated:
      evaluated = evaluate_all(run, programs, state.params)
      clock.lap("evaluation_secs")
    watch.check(step)
    secs = clock.secs | watch.lap()
    record.write(step, metrics, evaluated, secs, tokens)
    numerics.check_skipped(run.numerics, record.skipped_in_a_row, skipped)
    progress.update("training", step, run.num_steps, record.headline())
    last = step == run.num_steps or stop()
    if last or step % run.checkpoint.every_steps == 0:
      progress.now("the checkpoint")
      record.sync()
      saved.start(step, state, {"total_tokens": record.total_tokens})
    if last:
      saved.settle()
      return step == run.num_steps
  return True


def evaluate_all(
  run: experiment_lib.Run, programs: programs_lib.Programs, params: Any
) -> dict[str, evaluation.Evaluation]:
  """Evaluates on all held-out problems: "eval", and "ood" where there are."""
  found = {"eval": held_out(run, programs, params, programs.task.test)}
  if further := programs.task.out_of_domain:
    found["ood"] = held_out(run, programs, params, further)
  return found


def held_out(
  run: experiment_lib.Run,
  programs: programs_lib.Programs,
  params: Any,
  prompt_set: prompts_lib.PromptSet,
) -> evaluation.Evaluation:
  """Evaluates parameters on a split, with the same draws every time."""
  return evaluation.evaluate(
    programs.take,
    programs.decode,
    params,
    prompt_set,
    config=run.evaluation,
    vocabulary=programs.task.vocabulary,
    markers=run.epistemic.markers if run.epistemic else (),
    answer_of=verification.answer_reader(run.data.verifier),
  )


def warm_parameters(
  run: experiment_lib.Run,
  programs: programs_lib.Programs,
  folder: pathlib.Path,
  progress: progress_lib.Progress,
  stop: launch.StopRequest,
) -> Any:
  """Parameters to start RL from, imitated or read back; None if stopped."""
  config = run.warm_start
  if config.source:
    return gather.borrowed_parameters(config.source, programs)
  if run.pretrained:
    like = programs.warm_start.abstract.params
    return pretrained.params(run.pretrained, run.model, like)
  if not config.num_steps:
    return programs.warm_start.fresh().params
  with checkpoints.Checkpoints(folder / workdir_lib.WARM_START, 1) as saved:
    step = saved.latest_step()
    if step is None:
      state, step = programs.warm_start.fresh(), 0
    else:
      state = saved.restore(step, programs.warm_start.abstract)
      if saved.meta(step)["complete"]:
        return state.params
    with record_lib.lines_file(
      folder / workdir_lib.WARM_START_METRICS, step or -1
    ) as file:

      def imitate(state, prompt_set, step):
        draw = programs.demonstrations
        if config.hints and step % config.hints.every == 0:
          draw = programs.hinted_demonstrations
        batch = draw(prompt_set, state.seed, state.step)
        return programs.imitate(state, batch, None)

      def report(step: int, metrics: dict[str, float]) -> None:
        file.write({"step": step} | metrics)
        text = f"loss {metrics['loss']:.3f} · pass@1 {metrics['pass_at_1']:.3f}"
        progress.update("warm start", step, config.num_steps, text)

      state, complete = warm_start.run(
        state,
        programs.task.train,
        step_function=imitate,
        validate=lambda params: held_out(
          run, programs, params, programs.task.validation
        ).metrics["pass_at_1"],
        config=config,
        report=report,
        stop_requested=stop,
      )
    step = int(jax.device_get(state.step))
    saved.save(step, state, {"complete": complete})
    return state.params if complete else None


if __name__ == "__main__":
  launch.run(main)
