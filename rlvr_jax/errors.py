"""The one exception whose message is meant for the person at the keyboard."""


class UserError(ValueError):
  """A mistake that the user can mend, or several at once.

  The message is one sentence for each: the field, the value, the remedy.
  Programs print it without a traceback and exit with status 2.

  Example: UserError("num_steps is 0: set it to 1 or more").
  """

  def __str__(self) -> str:
    if len(self.args) < 2:
      return super().__str__()
    return f"{len(self.args)} settings are wrong:" + "".join(
      f"\n  {problem}" for problem in self.args
    )
