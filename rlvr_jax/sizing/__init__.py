"""Preflight's parts: what a step holds, computes and sends on devices."""
