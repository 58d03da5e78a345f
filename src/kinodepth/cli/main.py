"""The ``kinodepth`` command. One file per sub-command beside this one; each defines ``run`` (whose signature and
docstring are the arguments and their help) and ``EXAMPLES`` (shown by ``-h``). jsonargparse is used here only.

Sub-command modules import nothing heavy at the top, so that ``kinodepth -h`` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import importlib
import inspect
import os
import pkgutil
import re
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter

import kinodepth.cli
from kinodepth._version import __version__


def commands() -> dict[str, ModuleType]:
    """Sub-command modules by name, found by directory listing."""
    names = [m.name for m in pkgutil.iter_modules(kinodepth.cli.__path__) if m.name != "main"]
    return {name: importlib.import_module(f"kinodepth.cli.{name}") for name in sorted(names) if name[0] != "_"}


class _Help(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """jsonargparse's help with the lines of descriptions and examples left as they are, and options as typed."""

    def format_help(self) -> str:
        return re.sub(r"--[a-z_]+", lambda option: option[0].replace("_", "-"), super().format_help())


class _Parser(ArgumentParser):
    """A parser that answers with one sentence, not with its usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        wrong = re.search(r'Parser key "(\w+)":.*(?:G|g)iven value|Parser key "(\w+)":.*Got value', message, re.DOTALL)
        if wrong:  # a value of another type
            option = next(filter(None, wrong.groups())).replace("_", "-")
            kinds = re.search(r"Literal\[(.*?)\]", message) or re.search(r"<class '(\w+)'>", message)
            expected = kinds[1].replace("'", "") if kinds else "another value"
            message = f"--{option} {message.rpartition(': ')[2]}: expected {expected}"
        message = message.splitlines()[0].replace("_", "-")
        known = [option.replace("_", "-") for action in self._actions for option in action.option_strings]
        words = [word.partition("=")[0].rstrip(":") for word in message.split() if word.startswith("--")]
        close = [near for word in words for near in difflib.get_close_matches(word, known, 1) if near != word]
        name = self.prog.replace(" [options]", "")
        print(f"{name}: {message}; " + (f"did you mean {close[0]}?" if close else f"see {name} -h"), file=sys.stderr)
        sys.exit(2)


def _parser(modules: dict[str, ModuleType]) -> _Parser:
    parser = _Parser(prog="kinodepth", description="Depth from video in dynamic scenes.", formatter_class=_Help)
    parser.add_argument("--version", action="version", version=f"kinodepth {__version__}")
    subcommands = parser.add_subcommands(dest="command", metavar="COMMAND")
    for name, module in modules.items():
        description = (inspect.getdoc(module.run) or "").split("\n\nArgs:")[0]
        child = _Parser(
            description=description,
            epilog="examples:\n" + inspect.cleandoc(module.EXAMPLES),
            formatter_class=_Help,
        )
        repeated, optional = getattr(module, "REPEATED", {}), getattr(module, "OPTIONAL", {})
        child.add_function_arguments(module.run, as_positional=True, skip={*repeated, *optional})
        for argument, text in optional.items():
            child.add_argument(argument, nargs="?", help=text)
        for option, text in repeated.items():
            child.add_argument(f"--{option}", action="append", default=[], metavar="KEY=VALUE", help=text)
        subcommands.add_subcommand(name, child, help=description.split("\n")[0])
    return parser


def _spelled_out(words: Sequence[str], modules: dict[str, ModuleType]) -> list[str]:
    """``words`` as jsonargparse reads them: ``--save-every`` is ``--save_every``, a bare ``--resume`` is true, and
    options go last, because a positional argument that may be left out is not looked for behind an option."""
    command = next((word for word in words if word in modules), None)
    parameters = inspect.signature(modules[command].run).parameters.values() if command else ()
    flags = {f"--{parameter.name}" for parameter in parameters if parameter.annotation == "bool"}
    plain: list[str] = []
    options: list[str] = []
    rest = list(words)
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        if not option.startswith("--") or option == "--":
            plain.append(option + equals + value)
            continue
        option = "--" + option[2:].replace("-", "_")
        follows = bool(rest) and not rest[0].startswith("--")
        if not equals and option in flags:
            equals, value = "=", rest.pop(0) if follows and rest[0] in ("true", "false") else "true"
        options.append(option + equals + value)
        if not equals and follows and command is not None and option != "--help":
            options.append(rest.pop(0))
    return plain + options


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit status: 0, 2 for input that cannot be used, 130 after Ctrl-C."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it once: huge pages, a tenth faster on processors
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave a busy machine to those that work
    if argv is not None:
        sys.argv[1:] = argv  # run folders and reports name the command line that made them
    modules = commands()
    parsed = _parser(modules).parse_args(_spelled_out(sys.argv[1:], modules))
    name = parsed.command
    if name is None:
        _parser(modules).print_help()
        return 2
    from kinodepth.types import InputError

    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    arguments = dict(vars(parsed[name]))
    arguments.pop("config", None)
    try:
        return int(modules[name].run(**arguments) or 0)
    except InputError as error:
        message = str(error)
    except KeyboardInterrupt:
        print(f"kinodepth {name}: stopped by Ctrl-C", file=sys.stderr)
        return 130
    except OSError as error:
        remedy = {
            errno.ENOSPC: "the disk is full; free some space and run the same command again",
            errno.EACCES: "permission denied; choose a place you may write to or read from",
            errno.EROFS: "the file system is read-only; choose another output folder",
            errno.ENOTDIR: "a file is in the way of a folder; choose another output folder",
            errno.EEXIST: "a file is in the way of a folder; choose another output folder",
            errno.ENOENT: "no such file or folder; check the path",
            errno.EISDIR: "this is a folder; give a file",
        }.get(error.errno or 0)
        if remedy is None and error.filename is None:
            raise
        remedy = remedy or f"{error.strerror}; check the path"
        message = f"{error.filename or 'output'}: {remedy}"
    print(f"kinodepth {name}: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
