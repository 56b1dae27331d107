"""TRL's GRPOTrainer, with its own sampling by transformers."""

import tempfile

import datasets
import torch
import transformers
import trl

from benchmarks import workload
from benchmarks.sides import side
from benchmarks.sides import tokenizer as tokenizer_lib
from benchmarks.sides import torch_model


class StepTimer(transformers.TrainerCallback):
  """Times the trainer's steps; what is left beside a rollout is the update."""

  def __init__(self, clock: side.Clock):
    self.clock, self.running = clock, None

  def on_step_begin(self, args, state, control, **kwargs):
    del args, state, control, kwargs
    self.running = self.clock.span("step")
    self.running.__enter__()

  def on_step_end(self, args, state, control, **kwargs):
    del args, state, control, kwargs
    self.running.__exit__(None, None, None)
    self.clock.add_rest("update", "step", "rollout")


def config(
  size: workload.Size, args, setting: torch_model.Setting, folder: str
) -> trl.GRPOConfig:
  """The workload's settings, in TRL's names."""
  return trl.GRPOConfig(
    output_dir=folder,
    max_steps=args.steps,
    seed=workload.SEED,
    use_cpu=setting.device == "cpu",
    # Counted in completions.
    per_device_train_batch_size=size.sequences // size.micro_batches,
    gradient_accumulation_steps=size.micro_batches,
    num_generations=size.samples,
    max_completion_length=size.completion_tokens,
    shuffle_dataset=False,
    temperature=workload.TEMPERATURE,
    generation_kwargs={"suppress_tokens": list(workload.NEVER_SAMPLED)},
    num_iterations=1,
    beta=0.0,
    epsilon=workload.CLIP,
    loss_type="grpo",
    scale_rewards="group",
    optim="adamw_torch",
    learning_rate=workload.LEARNING_RATE,
    lr_scheduler_type="constant",
    adam_beta1=workload.BETAS[0],
    adam_beta2=workload.BETAS[1],
    adam_epsilon=workload.ADAM_EPSILON,
    weight_decay=workload.WEIGHT_DECAY,
    max_grad_norm=workload.CLIP_NORM,
    # On by default; nobody else recomputes activations or casts float32.
    bf16=setting.dtype == torch.bfloat16,
    gradient_checkpointing=False,
    report_to="none",
    save_strategy="no",
    disable_tqdm=True,
    logging_steps=1,
  )


def main():
  """Times the trainer and reports."""
  args = side.parser(__doc__).parse_args()
  size = side.size_of(args)
  setting = torch_model.setting(args)
  model = torch_model.build(size).to(setting.device, setting.dtype)
  parameters = torch_model.parameters(model)
  before = model.model.embed_tokens.weight.detach().clone()
  rows = [
    {"prompt": text, "answer": answer}
    for step in range(args.steps)
    for text, answer in workload.problems(size, step)
  ]
  lengths = set()
  with tempfile.TemporaryDirectory() as folder:
    trainer = trl.GRPOTrainer(
      model=model,
      reward_funcs=workload.rewards_of,
      args=config(size, args, setting, folder),
      train_dataset=datasets.Dataset.from_list(rows),
      processing_class=tokenizer_lib.make(size),
      callbacks=[StepTimer(setting.clock)],
    )
    # The library's own parts, each with a clock around it.
    trainer._generate_single_turn = setting.clock.timed(
      "generate", trainer._generate_single_turn
    )
    score = setting.clock.timed(
      "rollout", trainer._generate_and_score_completions
    )

    def scored(inputs):
      out = score(inputs)
      lengths.update(out["completion_mask"].sum(dim=1).tolist())
      return out

    trainer._generate_and_score_completions = scored
    trainer.train()
  logged = [x for x in trainer.state.log_history if "loss" in x]
  side.write(
    args,
    side.report(
      args,
      size,
      setting.clock,
      name="trl",
      parameters=parameters,
      checks={
        "completion_tokens": sorted(lengths),
        "loss": [x["loss"] for x in logged],
        "grad_norm": [float(x["grad_norm"]) for x in logged],
        "reward": [x["reward"] for x in logged],
        "updates": trainer.state.global_step,
        "weights_moved": not torch.equal(
          before, model.model.embed_tokens.weight
        ),
      },
      **setting.told(),
    ),
  )


if __name__ == "__main__":
  main()
