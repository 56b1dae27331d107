"""What the experiment files share: sizes, data and everyday settings.

An experiment file is a paper's table: it repeats each value that the paper
states. Marks of a value's source:

  section 4.1        the paper, or a place in it such as "eq. 3"
  [code] path        a file of the authors' repository
  [code*] owner/name somebody else's copy of it or code after it
  via notes          [paper excerpt, via notes]: somebody's notes on the paper
  [inferred]         our reading where neither says it
  ours               chosen here

The values of the papers' own runs are complete but for what a machine decides
(config.mesh, config.updates.num_micro_batches) and what no paper states of a
run here, such as when to evaluate.
"""

import ml_collections

# Small recipes that run anywhere. # ours, measured on two CPU cores
TASKS = {
  # Three numbers, a target, 1 to 22 solutions each.
  "tiny": dict(
    data=dict(
      name="countdown",
      variant="three",
      verifier="countdown_outcomes",
      prompt_tokens=9,
      split_seed=1,
    ),
    completion_tokens=16,
    num_steps=150,
    target_pass_at_1=0.35,
    warm_start_steps=1000,
  ),
  # Two to six numbers: after the warm start three groups in four are all right
  # or all wrong.
  "tiny_mixed": dict(
    data=dict(
      name="countdown",
      variant="mixed",
      verifier="countdown_outcomes",
      prompt_tokens=15,
      split_seed=1,
    ),
    completion_tokens=40,
    num_steps=200,
    target_pass_at_1=1.0,  # never: a shorter warm start gets few all right
    warm_start_steps=3600,
    settings=dict(
      warm_start=dict(
        # Small batches, so that short problems come often.
        batch_size=16,
        validate_every_steps=600,
        optimizer=dict(final_frac=0.02),
      ),
      evaluation=dict(num_prompts=256),
    ),
  ),
  # Three or four numbers, and attempts that are given up with a "?": a task in
  # which doubt can be counted, kept or lost.
  "tiny_doubt": dict(
    data=dict(
      name="countdown",
      variant="doubt",
      verifier="countdown_outcomes",
      prompt_tokens=11,
      split_seed=1,
      num_train_prompts=0,
    ),
    completion_tokens=72,
    num_steps=120,
    target_pass_at_1=0.35,
    warm_start_steps=1200,
    settings=dict(
      warm_start=dict(validate_every_steps=200),
      epistemic=dict(words=("?",)),
      # Another domain once data.variant is "doubt_three".
      out_of_domain=dict(name="countdown", variant="doubt_four"),
    ),
    hint_contexts=("gold_answer", "gold_solution"),
  ),
  # Sums of single digits with every step restated; RL first learns to end in
  # "#", then to calculate.
  "chain": dict(
    data=dict(
      name="random_calculation",
      variant="chain",
      verifier="chain_outcomes",
      prompt_tokens=12,
      split_seed=0,
    ),
    completion_tokens=36,
    num_steps=120,
    target_pass_at_1=0.30,
    warm_start_steps=600,
  ),
}

_LLAMA = dict(qk_norm="none", head_dim=128, rope_base=1e4)
_QWEN2P5 = dict(
  qk_norm="none", attention_bias=True, head_dim=128, rope_base=1e6
)
_QWEN3 = dict(vocab_size=151_936, num_kv_heads=8, head_dim=128, rope_base=1e6)
_QWEN3_4B = dict(
  _QWEN3,
  num_layers=36,
  width=2560,
  num_heads=32,
  mlp_width=9728,
  tied_embeddings=True,
)
_QWEN3_8B = dict(
  _QWEN3, num_layers=36, width=4096, num_heads=32, mlp_width=12_288
)
# Shapes of the papers' models, from the config.json on Hugging Face that the
# comment names.
MODELS = {
  # huggyllama/llama-7b, read in copies
  "llama_7b": dict(
    _LLAMA,
    vocab_size=32_000,
    num_layers=32,
    width=4096,
    num_heads=32,
    num_kv_heads=32,
    mlp_width=11_008,
  ),
  # deepseek-ai/deepseek-math-7b-base
  "deepseek_math_7b": dict(
    _LLAMA,
    vocab_size=102_400,
    num_layers=30,
    width=4096,
    num_heads=32,
    num_kv_heads=32,
    mlp_width=11_008,
  ),
  # Qwen/Qwen2.5-Math-1.5B
  "qwen2p5_math_1p5b": dict(
    _QWEN2P5,
    vocab_size=151_936,
    num_layers=28,
    width=1536,
    num_heads=12,
    num_kv_heads=2,
    mlp_width=8960,
    rope_base=1e4,
    tied_embeddings=True,
  ),
  # deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B, which DeepCoder's data train
  "deepcoder_1p5b": dict(
    _QWEN2P5,
    vocab_size=151_936,
    num_layers=28,
    width=1536,
    num_heads=12,
    num_kv_heads=2,
    mlp_width=8960,
    rope_base=1e4,
  ),
  # Qwen/Qwen2.5-Math-7B
  "qwen2p5_math_7b": dict(
    _QWEN2P5,
    vocab_size=152_064,
    num_layers=28,
    width=3584,
    num_heads=28,
    num_kv_heads=4,
    mlp_width=18_944,
    rope_base=1e4,
  ),
  # Qwen/Qwen2.5-7B, and -Instruct
  "qwen2p5_7b": dict(
    _QWEN2P5,
    vocab_size=152_064,
    num_layers=28,
    width=3584,
    num_heads=28,
    num_kv_heads=4,
    mlp_width=18_944,
  ),
  # Qwen/Qwen2.5-32B; the Instruct model has norm_epsilon 1e-6.
  "qwen2p5_32b": dict(
    _QWEN2P5,
    vocab_size=152_064,
    num_layers=64,
    width=5120,
    num_heads=40,
    num_kv_heads=8,
    mlp_width=27_648,
    norm_epsilon=1e-5,
  ),
  # Qwen/Qwen3-4B
  "qwen3_4b": _QWEN3_4B,
  # Qwen/Qwen3-4B-Base
  "qwen3_4b_base": _QWEN3_4B,
  # Qwen/Qwen3-4B-Instruct-2507
  "qwen3_4b_instruct": dict(_QWEN3_4B, rope_base=5e6),
  # Qwen/Qwen3-8B-Base
  "qwen3_8b_base": _QWEN3_8B,
  # Qwen/Qwen3-8B; papers train its base model.
  "qwen3_8b": _QWEN3_8B,
  # Qwen/Qwen3-14B, read in a copy; papers train its base model.
  "qwen3_14b": dict(
    _QWEN3, num_layers=40, width=5120, num_heads=40, mlp_width=17_408
  ),
  # Qwen/Qwen3-32B, read in a copy; papers train its base model.
  "qwen3_32b": dict(
    _QWEN3, num_layers=64, width=5120, num_heads=64, mlp_width=25_600
  ),
}


# Any checkpoint with files of problems, from the command line. # ours
CHECKPOINT = "checkpoint"
# Where the problems are is the user's to say.
FROM_FILES = dict(files=dict(train=dict(paths=()), test=dict(paths=())))
# [inferred] from memory of Qwen2.5-Math's model cards.
INSTRUCTION = (
  "{question}\nPlease reason step by step, and put your final answer within"
  " \\boxed{}."
)


def base(arg: str, models: tuple[str, ...] = ()) -> ml_collections.ConfigDict:
  """Settings of a variant, without a method.

  Args:
    arg: what follows the colon in --config=experiments/x.py:arg.
    models: names out of MODELS whose runs the file describes; for these it
      sets `config.data` and all that the paper states.

  Returns:
    ConfigDict, open to further keys.
  """
  variants = (*TASKS, CHECKPOINT, *models)
  if arg not in variants:
    raise ValueError(f"variant {arg!r}: choose one of {', '.join(variants)}")
  config = _everyday()
  if arg in TASKS:
    task = TASKS[arg]
    config.num_steps = task["num_steps"]
    config.data = task["data"]
    config.rollout.completion_tokens = task["completion_tokens"]
    config.warm_start.num_steps = task["warm_start_steps"]
    config.warm_start.target_pass_at_1 = task["target_pass_at_1"]
    config.warm_start.optimizer.decay_steps = task["warm_start_steps"]
    # The activations of so few rows stay in a CPU's caches. # ours
    config.updates.num_micro_batches = 4
    config.update(task.get("settings", {}))
    return config
  # The published weights are the start. Whose runs: --config.pretrained.folder
  # and the paths below --config.data.files.
  config.pretrained = dict(folder="", stop_tokens=(), date="")
  config.warm_start.num_steps = 0
  config.model = dict(dtype="bfloat16", scan_layers=True, remat="full")
  config.optimizer.b2 = 0.999  # PyTorch's default, on which verl relies
  if arg == CHECKPOINT:
    config.num_steps = 200
    config.optimizer.learning_rate = 1e-6
    config.rollout.completion_tokens = 1024
    config.data = dict(
      **FROM_FILES,
      name="files",
      variant="",
      verifier="math_boxed",
      prompt_tokens=512,
      split_seed=0,
      prompt=dict(template=INSTRUCTION, chat=True),
    )
    config.verifier_pool = dict(num_workers=4, deadline_secs=5.0)
    return config
  config.model.update(MODELS[arg], init_std=0.02)
  config.num_steps = 1000  # ours, where a paper names no end
  return config


def taught(config: ml_collections.ConfigDict, arg: str) -> None:
  """Gives a variant of TASKS a teacher, and a warm start with its prompts.

  Without such a warm start a hint would be noise to the small model.
  """
  tokens = config.rollout.completion_tokens
  if arg == CHECKPOINT:
    config.teacher = dict(
      template="{prompt}\n\nA correct solution of this problem:\n"
      "{demonstration}\n\nNow solve the original problem correctly.\n",  # ours
      prompt_tokens=config.data.prompt_tokens + 64 + tokens,
      context="sibling",
    )
    return
  config.teacher = dict(
    template="{demonstration}|{prompt}",  # ours
    prompt_tokens=config.data.prompt_tokens + 1 + tokens,
    context="sibling",
    rows_per_pass=32,  # ours: fits the caches, and skips passes without rows
  )
  config.warm_start.hints = dict(
    every=4,  # ours
    copy_frac=0.8,  # ours: drawn apart, hints came to mean nothing
    contexts=TASKS[arg].get("hint_contexts", ("sibling", "gold_answer")),
  )


def _everyday() -> ml_collections.ConfigDict:
  """What all variants start from."""
  config = ml_collections.ConfigDict()
  config.seed = 0
  config.prompts_per_step = 32
  # 102,784 parameters.
  config.model = dict(
    vocab_size=32,
    num_layers=2,
    width=64,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    mlp_width=192,
    rope_base=1e4,
    init_std=0.1,
  )
  config.rollout = dict(
    num_generations=8,
    temperature=1.0,
    top_k=0,
    top_p=1.0,
    min_p=0.0,
    slots=0,
    rows_per_pass=0,
  )
  config.optimizer = dict(
    learning_rate=5e-4,
    warmup_steps=0,
    schedule="constant",
    b1=0.9,
    b2=0.98,
    weight_decay=0.0,
    clip_norm=1.0,
  )
  config.warm_start = dict(
    batch_size=64,
    validate_every_steps=50,
    source="",
    optimizer=dict(
      learning_rate=5e-3,
      warmup_steps=20,
      schedule="cosine",
      decay_steps=1000,
      final_frac=0.1,
      b1=0.9,
      b2=0.98,
      weight_decay=0.01,
      clip_norm=1.0,
    ),
  )
  config.refill = dict(max_rounds=1)
  config.updates = dict(num_minibatches=1, num_micro_batches=1)
  config.evaluation = dict(
    every_steps=25,
    num_prompts=128,
    num_generations=8,
    temperature=1.0,
    batch_prompts=32,
  )
  config.checkpoint = dict(every_steps=50, keep=2)
  config.numerics = dict(max_skipped=3)
  config.consistency = dict(enabled=True, tests_verifier=True, max_gap=0.0)
  config.boards = dict(tensorboard=False, wandb_project="")
  config.report = dict(token_prompts=2)
  config.mesh = dict(data=1, fsdp=1, tensor=1)
  config.sampling_threads = 2  # ours
  return config
