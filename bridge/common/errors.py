"""Exceptions that are told in one sentence, without a traceback."""


class InputError(ValueError):
    """Bad arguments, files or folders; the message is one sentence for the person who gave them.

    Every command prints it without a traceback and exits with code 2.
    """


class Failed(RuntimeError):
    """What could not be done through no fault of the input; the message is one sentence.

    Every command prints it without a traceback and exits with code 1.
    """


class StoreError(InputError):
    """An object store that refuses, or does not answer: never the fault of what lies in it."""


class Stopped(Failed):
    """A limit that was set is reached; what was finished is kept, and more of it continues."""
