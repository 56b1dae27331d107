"""A verifier that does what the response says; only workers import it."""

import ctypes
import os
import signal
import subprocess
import sys
import time

from rlvr_jax import errors

_calls = 0


def obey(response: str, gold: str, *, polite: bool = False):
  """Acts on the response; else compares it with the gold.

  The answer it reports is what a test wants to know of the worker.
  """
  global _calls
  _calls += 1
  word, _, argument = response.partition(" ")
  if word == "hang":
    time.sleep(1_000)
  elif word == "grind":
    # One long operation that holds the interpreter's lock.
    9**9**9
  elif word == "sleep":
    time.sleep(float(argument))
  elif word == "segfault":
    ctypes.string_at(0)
  elif word == "exit":
    os._exit(3)
  elif word == "quit":
    sys.exit("bye")
  elif word == "interrupt":
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
  elif word == "fill":
    return "correct", str(len([bytes(2**20) for _ in range(2**14)]))
  elif word == "raise":
    raise ZeroDivisionError("as told")
  elif word == "fault":
    raise errors.UserError("obey is 1: set it to 2")
  elif word == "nonsense":
    return "maybe"
  elif word == "print":
    print("x" * 100_000, flush=True)
    os.write(1, b"\x00\x00\x00\x02{}")
    subprocess.run(["echo", "noise"], check=True)
  elif word == "spawn":
    return "correct", str(subprocess.Popen(["sleep", "1000"]).pid)
  elif word == "read":
    return "correct", repr(sys.stdin.read())
  elif word == "pid":
    return "correct", str(os.getpid())
  elif word == "calls":
    return "correct", str(_calls)
  elif word == "modules":
    heavy = {"jax", "jaxlib", "flax", "tensorflow", "torch", "matplotlib"}
    return "correct", repr(sorted(heavy & set(sys.modules)))
  elif word == "polite":
    return "correct", str(polite)
  return "correct" if response == gold else "wrong"
