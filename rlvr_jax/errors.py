"""The one exception whose message is meant for the person at the keyboard."""


class UserError(ValueError):
  """A mistake that the user can mend.

  The message is one sentence: the field, the value, the remedy. Programs print
  it without a traceback and exit with status 2.
  """
