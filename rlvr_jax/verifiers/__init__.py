"""Verifiers of texts, in processes of their own: is this the right answer?

A verifier is a function (response, gold) of two texts. It returns a name of
`outcomes.OUTCOMES`, or an `outcomes.Judged` with the answer that it read; its
keywords with defaults are its options. It need not be fast, nor end, nor
survive: `pool` runs it in killable workers.

  boxed         which part of a response is its answer
  answers       exact, numeric: text and numbers, without a library
  math_answers  equivalent, equivalent_in_box: anything that math-verify reads
  code_answers  passes_tests: a program, by unit tests in a sandbox
  unit_tests    golds of unit tests, and what counts as the same
  code_harness  inside a sandbox: calls a program's functions
  sandbox       runs a program that nobody trusts
  sandbox_session   one such program, while it runs
  sandbox_commands  the command lines that start it
  sandbox_inside    what shuts the doors behind it
  seccomp       a filter of system calls
  worker        the child process; imports no jax
  child         the same process, as its parent sees it
  pool          a deadline for every item, whatever the item does
  golds         right answers of several kinds
  forms         answers that equal a gold, and answers that nearly do
  mutations     responses of known truth, to measure a verifier with
  hostile       responses that are out to break or fool one, out of `fragments`

Import the modules: some need packages that others do not.
"""
