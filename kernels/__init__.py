"""Kernels: one folder per operation, a reference beside every fast version.

Imported as `rlvr_jax.kernels`, by `rlvr_jax.ops` alone; depends on jax alone.
"""
