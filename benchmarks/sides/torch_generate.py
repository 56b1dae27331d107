"""transformers' generate: sampling the completions of a step, and no update."""

import torch
import transformers

from benchmarks import workload
from benchmarks.sides import side
from benchmarks.sides import tokenizer as tokenizer_lib
from benchmarks.sides import torch_model


def main():
  """Times sampling and reports."""
  args = side.parser(__doc__).parse_args()
  size = side.size_of(args)
  setting = torch_model.setting(args)
  model = torch_model.build(size).to(setting.device, setting.dtype).eval()
  tokenizer = tokenizer_lib.make(size)
  config = transformers.GenerationConfig(
    do_sample=True,
    temperature=workload.TEMPERATURE,
    top_k=0,
    top_p=1.0,
    max_new_tokens=size.completion_tokens,
    suppress_tokens=list(workload.NEVER_SAMPLED),
    pad_token_id=workload.PAD_ID,
    eos_token_id=workload.EOS_ID,
  )
  lengths = set()
  for step in range(args.steps):
    texts = [text for text, _ in workload.problems(size, step)]
    rows = [text for text in texts for _ in range(size.samples)]
    inputs = tokenizer(
      rows, padding=True, return_tensors="pt", return_token_type_ids=False
    ).to(setting.device)
    # A reward function takes texts: the step ends with them.
    with setting.clock.span("step"):
      with setting.clock.span("generate"), torch.no_grad():
        out = model.generate(**inputs, generation_config=config)
      completions = out[:, size.prompt_tokens :]
      tokenizer.batch_decode(completions)
    lengths.add(completions.shape[1])
    assert int(completions.min()) > max(workload.NEVER_SAMPLED)
  side.write(
    args,
    side.report(
      args,
      size,
      setting.clock,
      name="generate",
      parameters=torch_model.parameters(model),
      checks={"completion_tokens": sorted(lengths)},
      **setting.told(),
    ),
  )


if __name__ == "__main__":
  main()
