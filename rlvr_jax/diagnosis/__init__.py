"""Why a run is sick, from its files alone: rules, and which explains which.

series: a run's files, and the windows that rules compare.
batches, sampling, learning: rules, pure functions of a run.
table: every rule with its advice, and what it explains.
"""
