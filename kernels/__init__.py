"""Kernels: one folder per operation, a reference beside every fast version.

Depends on jax alone. `rlvr_jax.ops` is the only importer.
"""
