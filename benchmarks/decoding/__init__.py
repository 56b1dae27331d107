"""What `benchmarks.decode` measures: a room has `results` and a `table`.

slots    completions of many lengths, decoded in refilled slots
prefix   samples that share the keys and values of their prompt
draw     picking tokens, beside a whole decoding step
"""
