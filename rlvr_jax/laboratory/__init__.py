"""The lab's parts: runs in lockstep, and their comparison."""
