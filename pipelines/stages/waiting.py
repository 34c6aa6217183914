"""Calls that Ctrl-C and limits end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import ray

from bridge.common.errors import Stopped

Result = TypeVar("Result")


def interruptible(call: Callable[[], Result], check: Callable[[], None]) -> Result:
    """The result of a call that runs in a thread, so that this one can be interrupted.

    Ray Train answers signals itself wherever it may, and then ends with exit code 0.

    Args:
        call: what is to be done.
        check: is called again and again meanwhile; what it raises ends the call, and this process's
            connection to Ray with it.
    """
    outcome: list[Result] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.5)
        try:
            check()
        except Stopped:
            ray.shutdown()
            raise
    if failure:
        raise failure[0]
    return outcome[0]
