"""Calls that Ctrl-C ends at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def interruptible(call: Callable[..., Result], *arguments: Any) -> Result:
    """The result of a call that runs in a thread, so that this one can be interrupted.

    Ray Train answers signals itself wherever it may, and then ends with exit code 0.
    """
    outcome: list[Result] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(call(*arguments))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.5)
    if failure:
        raise failure[0]
    return outcome[0]
