"""Runs in a sandbox: calls a program's functions, as `code_answers` asks.

A script, given to the sandbox as its program. Each request and each reply is a
line of JSON, on what were its standard input and output:

  {"program": source}                 {"value": null}
  {"call": name, "arguments": [...]}  {"value": encoded}
  {"eval": expression}                {"value": encoded}
  {"exec": statement, "nonce": text}  {"passed": nonce}
  anything that raises                {"raised": name of the exception}

The program lives in this process and can send what replies it likes. So a reply
is never more than what the program could have returned; the one that says
"passed" is for tests that cannot be compared outside.
"""

import builtins
import json
import os
import sys
import types

# What the field's starter code takes for granted.
PREAMBLE = """
from bisect import *
from collections import *
from functools import *
from heapq import *
from itertools import *
from math import *
from typing import *
import bisect, collections, functools, heapq, itertools, math, operator
import re, string, sys, typing
from builtins import pow
"""


def main() -> None:
  """Answers until the input ends."""
  requests = os.fdopen(os.dup(0), "rb")
  replies = os.fdopen(os.dup(1), "wb")
  nothing = os.open(os.devnull, os.O_RDWR)
  for number in (0, 1):
    os.dup2(nothing, number)
  module = types.ModuleType("program")
  sys.modules["program"] = module
  originals = dict(vars(builtins))
  for line in requests:
    try:
      reply = _reply(json.loads(line), vars(module), originals)
      text = json.dumps(reply)
    # SystemExit too: what the program raises ends no test but this one.
    except BaseException as error:
      text = json.dumps({"raised": type(error).__name__})
    replies.write(text.encode() + b"\n")
    replies.flush()


def _reply(request: dict, names: dict, originals: dict) -> dict:
  if "program" in request:
    exec(PREAMBLE, names)
    exec(compile(request["program"], "program.py", "exec"), names)
    return {"value": None}
  if "call" in request:
    function = _function(request["call"], names)
    return {"value": encoded(function(*request["arguments"]))}
  if "eval" in request:
    return {"value": encoded(eval(request["eval"], names))}
  vars(builtins).update(originals)
  exec(compile(request["exec"], "assert.py", "exec", optimize=0), names)
  return {"passed": request["nonce"]}


def _function(name: str, names: dict):
  """A function of the program, or a method of a new `Solution`."""
  if "Solution" in names and hasattr(names["Solution"], name):
    return getattr(names["Solution"](), name)
  return names[name]


def encoded(value: object) -> object:
  """A value of builtin types, as JSON that tells them apart.

  Raises:
    TypeError: for any other type, whose comparison would be the program's own.
  """
  if value is None or isinstance(value, (bool, int, float, str)):
    return value
  if isinstance(value, dict):
    pairs = dict.items(value)
    return {"dict": [[encoded(key), encoded(x)] for key, x in pairs]}
  for kind in (list, tuple, set, frozenset):
    if isinstance(value, kind):
      return {kind.__name__: [encoded(x) for x in kind.__iter__(value)]}
  if isinstance(value, (bytes, bytearray)):
    return {"bytes": bytes(value).hex()}
  if isinstance(value, complex):
    return {"complex": [value.real, value.imag]}
  raise TypeError(f"a {type(value).__name__} is not of builtin types")


if __name__ == "__main__":
  main()
