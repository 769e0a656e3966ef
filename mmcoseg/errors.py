"""What is raised when the user can mend it."""

__all__ = ['MMCosegError']


class MMCosegError(ValueError):
    """Something in the user's files, config or arguments is wrong.

    The message names the file or key, says what is wrong and what to do. The command line prints
    it without a traceback; any other error is a bug.
    """
