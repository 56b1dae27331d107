"""Analyses of a model or a run, afterwards or beside it; none trains on them.

information   entropies, information gain, what a context tells of an answer
histograms    how log-probabilities and entropies of tokens are spread
dependence    a kernel score between hidden states and a goal, token by token
injection     failed responses cut short and continued behind a doubt
trends        which words became more or less frequent
judge         numbers from labels that a judge gave, whoever the judge is

All are functions of arrays and texts: they read no files and ask no network.
The papers behind them are "Understanding Reasoning in LLMs through Strategic
Information Allocation under Uncertainty" (https://arxiv.org/abs/2603.15500,
below SIA) and "Why Does Self-Distillation (Sometimes) Degrade the Reasoning
Capability of LLMs?" (https://arxiv.org/abs/2603.24472, below SDD); SIA-code and
SDD-code are their repositories, see `rlvr_jax.metrics.epistemic`.
"""
