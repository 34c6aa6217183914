"""From a frozen dataclass to a command: arguments, presets, exit codes.

Exit codes of every command: 0 done, 1 failed, 2 bad arguments or input (one sentence, no
traceback), 130 interrupted.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import errno
import io
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NoReturn, TypeVar, get_origin, get_type_hints

import tyro

from bridge.common import log, streams
from bridge.common.errors import Failed, InputError, Stopped, StoreError
from bridge.common.files import shown
from bridge.common.storage import refuse_store_error
from bridge.common.watch_options import LogOptions

Config = TypeVar("Config")

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

_PARAMETER = re.compile(r"`([a-z]\w*)`")


def main(
    run: Callable[[Config], Any], config_type: type[Config], *, description: str | None
) -> NoReturn:
    """Parse the command line into `config_type` and run it."""
    # Where a group has a parameter of the same name, the one outside it is meant.
    by_depth = sorted(options_of(config_type).items(), key=lambda item: -item[1].count("."))
    names = {path.rpartition(".")[2]: option for option, path in by_depth}
    guarded(lambda: run(parsed(config_type, description=description)), names)


def parsed(kind: type[Config], **settings: Any) -> Config:
    """`tyro.cli`, but an InputError of the dataclass or its groups comes out as it is.

    Tyro would put it into a box of its own and exit, since it is a ValueError. From here on the
    command logs as its options say.
    """
    told = _Held()
    try:
        with contextlib.redirect_stderr(told):
            config = tyro.cli(kind, **settings)
        watch = getattr(config, "watch", None)
        if isinstance(watch, LogOptions) and watch.log_json:
            log.as_json()
        return config
    except SystemExit as end:
        refusal: BaseException | None = end
        while refusal is not None and not isinstance(refusal, InputError):
            refusal = refusal.__context__
        if refusal is not None:
            told.truncate(0)
            raise refusal from None
        raise
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.write(told.getvalue())


class _Held(io.StringIO):
    """What is to be written to a terminal, or not."""

    def isatty(self) -> bool:
        return sys.__stderr__ is not None and sys.__stderr__.isatty()


def guarded(command: Callable[[], Any], options: Mapping[str, str] | None = None) -> NoReturn:
    """Run a command to its exit code; `options` as in `as_options`."""
    # Threads that wait by spinning starve each other as soon as anything else wants a core. It is
    # read when torch is imported, which no command has done yet.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    streams.as_utf8()
    streams.open_all()
    # Ray would start a cluster for whoever asks it anything once ours has been left.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    code = _code_of(command, options)
    streams.give_up()
    if code == INTERRUPTED:
        # Threads that were in the middle of something can bring the interpreter down at its end.
        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)


def _code_of(command: Callable[[], Any], options: Mapping[str, str] | None) -> int:
    try:
        _to_its_end(command)
    except InputError as error:
        _tell(as_options(_message(error), options))
        return 2
    except Failed as error:
        kind = "stopped" if isinstance(error, Stopped) else "error"
        _tell(as_options(_message(error), options), kind)
        return 1
    except UnicodeEncodeError as error:
        if error.reason != "surrogates not allowed":
            raise
        _tell(f"{error.object[:200]!r} is not UTF-8, as names have to be here.")
        return 2
    except OSError as error:
        if error.filename == streams.OUTPUT:
            return _told_output(error)
        try:
            refuse_store_error(error)
        except StoreError as refusal:
            _tell(str(refusal))
            return 2
        told = told_os_error(error)
        if told is None:
            raise
        _tell(told)
        return 1
    except KeyboardInterrupt:
        _tell("the same command continues from here.", "interrupted")
        return INTERRUPTED
    return 0


def _to_its_end(command: Callable[[], Any]) -> None:
    """Run it, with its output written."""
    try:
        command()
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()


def _told_output(error: OSError) -> int:
    # Whoever read the output has read enough.
    if isinstance(error, BrokenPipeError):
        return 141
    _tell(f"{streams.OUTPUT} cannot be written: {_reason(error)}.")
    return 1


def _message(error: BaseException) -> str:
    """Ray hands on an error of a task as an instance of its type with a long message."""
    return str(getattr(error, "cause", error))


def _tell(message: str, kind: str = "error") -> None:
    with contextlib.suppress(OSError):
        lines = "\n".join(map(shown, message.split("\n")))
        text = log.entry(kind, text=lines) if log.is_json() else f"{kind}: {lines}"
        print(text, file=sys.stderr, flush=True)


_KEPT = "What was finished is intact, and the same command continues from there."
_REASONS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "there is no room left"),
    errno.EROFS: "it can only be read",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "permission is denied"),
    **dict.fromkeys(
        (errno.EMFILE, errno.ENFILE), "too many files are open (raise the limit: ulimit -n)"
    ),
}


def told_os_error(error: OSError) -> str | None:
    """A failure of the surroundings in a sentence; None for one that has no name.

    told_os_error(OSError(errno.ENOSPC, "...", "a/b"))
    == "a/b: there is no room left. What was finished is intact, and ..."
    """
    error = getattr(error, "cause", error)
    if error.errno is None:
        return None
    # Arrow's errors have no file, but tell of it in their text.
    place = error.filename or error.strerror or "The system"
    return f"{place}: {_reason(error)}. {_KEPT}"


def _reason(error: OSError) -> str:
    number = error.errno or 0
    return _REASONS.get(number, os.strerror(number).lower())


def as_options(message: str, options: Mapping[str, str] | None = None) -> str:
    """An error of the library, which names parameters in backquotes, with their options instead.

    as_options("`batch_size` must be at least 1.") == "--batch-size must be at least 1."

    Args:
        message: the error.
        options: of the command, by parameter; other parameters stay as they are. None: a parameter
            is the option of its name.
    """

    def option(found: re.Match[str]) -> str:
        name = found[1]
        return f"--{_dashes(name)}" if options is None else options.get(name, found[0])

    return _PARAMETER.sub(option, message)


def options_of(
    kind: type[Any], default: Any = None, *, flat: bool = False, path: str = "", prefix: str = "--"
) -> dict[str, str]:
    """The options of a dataclass as tyro names them, with the paths of their fields.

    Args:
        kind: the dataclass.
        default: an instance whose groups say what theirs are, where they are of derived types.
        flat: nested groups add no prefix to their options, as under `OmitArgPrefixes`.
        path: of the group that `kind` is.
        prefix: of its options.

    Raises:
        TypeError: two fields have one option, so that one of them could not be set.
    """
    hints = get_type_hints(kind, include_extras=True)
    options: dict[str, str] = {}
    for field in dataclasses.fields(kind):
        value = _default(field) if default is None else getattr(default, field.name)
        hint, marks = _unmarked(hints[field.name])
        group = type(value) if dataclasses.is_dataclass(value) else hint
        own, name = f"{path}{field.name}", f"{prefix}{_dashes(field.name)}"
        found = {name: own}
        if dataclasses.is_dataclass(group):
            omits = flat or tyro.conf.OmitArgPrefixes in marks
            inner = prefix if omits else f"{name}."
            found = options_of(group, value, flat=omits, path=f"{own}.", prefix=inner)  # type: ignore[arg-type]
        for option, place in found.items():
            if option in options:
                raise TypeError(f"{option} would be both {options[option]} and {place}.")
            options[option] = place
    return options


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _unmarked(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type, and what it is annotated with."""
    return (hint.__origin__, hint.__metadata__) if get_origin(hint) is Annotated else (hint, ())


def _dashes(name: str) -> str:
    return name.replace("_", "-")


def given_option(name: str, argv: Sequence[str]) -> str | None:
    """The value of `--name VALUE` or `--name=VALUE` in an argument list, if it is there.

    Needed before parsing proper, because a preset decides the defaults of all other options.
    """
    for position, argument in enumerate(_dashed(argv)):
        if argument == name and position + 1 < len(argv):
            return argv[position + 1]
        if argument.startswith(f"{name}="):
            return argument.split("=", 1)[1]
    return None


def _dashed(argv: Sequence[str]) -> list[str]:
    """Options as they are documented; tyro takes `--num_cpus` for `--num-cpus` too."""
    return [
        argument.replace("_", "-", argument.split("=")[0].count("_"))
        if argument.startswith("--")
        else argument
        for argument in argv
    ]


def parse_with_preset(
    presets: Mapping[str, Config],
    usual: str,
    *,
    choose: Callable[[Config], str] | None = None,
    description: str | None,
    argv: Sequence[str] | None = None,
) -> Config:
    """Parse a command line whose defaults come from `--preset`.

    Args:
        presets: by name.
        usual: the preset where the command line names none, and whose defaults `--help` shows then.
        choose: what costs more to find out: given the options with the usual preset's defaults,
            names the preset to take instead. It is only asked where the command line names none,
            and once every option is known to be right.
        description: of the command.
        argv: the command line.

    Raises:
        InputError: there is no such preset, or as the configuration does.
        TypeError: options of two groups have one name.
    """
    argv = sys.argv[1:] if argv is None else argv
    given = given_option("--preset", argv)
    name = given or usual
    config = _parsed_with(presets, name, argv, description)
    if given is None and choose is not None and (chosen := choose(config)) != name:
        return _parsed_with(presets, chosen, argv, description)
    return config


def _parsed_with(
    presets: Mapping[str, Config], name: str, argv: Sequence[str], description: str | None
) -> Config:
    default = presets.get(name)
    if default is None:
        raise InputError(f"There is no preset {name!r}: choose one of {', '.join(presets)}.")
    options_of(type(default), default)
    return parsed(
        type(default),
        default=default,
        args=list(argv),
        description=description,
    )
