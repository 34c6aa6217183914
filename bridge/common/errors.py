"""The one exception that means "the input is wrong", as opposed to "the program is"."""


class InputError(ValueError):
    """Bad arguments, files or folders; the message is one sentence for the person who gave them.

    Every command prints it without a traceback and exits with code 2.
    """
