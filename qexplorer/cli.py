"""`qexplorer`: the window, or one headless command. Nothing heavy is imported before the arguments are understood."""

import argparse
import importlib
import io
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from qexplorer import __version__, platform_check
from qexplorer.errors import UserError

MODULES = {"list": "tensors"}  # a module of that name would hide Python's own `list`
COMMANDS = {
    "list": "every tensor of a file",
    "analyze": "quantize tensors and measure what it does",
    "run": "run a job on a model",
    "study": "a grid of runs, here or on a Dask cluster",
    "runs": "the run history",
    "formats": "every number format",
}
END_S = 2.0
"""So long threads that are no daemons are waited for at the end of the process."""
WINDOW_HELP = """examples:
  qexplorer                                      the window, as it was left
  qexplorer model.safetensors                    the window on a file
  qexplorer synthetic:laplace                    the window on made-up values
  qexplorer --screenshot shot.png --size 1440x900 --theme dark

commands (qexplorer COMMAND --help):
""" + "\n".join(f"  {name:<9} {text}" for name, text in COMMANDS.items())


class OneLineParser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. `{self.prog} --help` says more.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 a bug, 2 wrong usage or input, 130 cancelled."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):  # a code page that lacks a sign shows it escaped, instead of failing
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        if words and words[0] in COMMANDS:
            module = importlib.import_module(f"qexplorer.commands.{MODULES.get(words[0], words[0])}")
            parser = OneLineParser(
                prog=f"qexplorer {words[0]}",
                description=COMMANDS[words[0]][0].upper() + COMMANDS[words[0]][1:] + ".",
                epilog=module.EXAMPLES,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            module.add_arguments(parser)
            module.run(parser.parse_args(words[1:]))
            sys.stdout.flush()
            return 0
        return _window(words)
    except UserError as error:
        print(f"qexplorer: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("qexplorer: cancelled", file=sys.stderr)
        return 130
    except ImportError as error:
        print(f"qexplorer: the installation is damaged: {error}. {platform_check.mend()}", file=sys.stderr)
        return platform_check.EXIT_CODE
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails once more when it flushes
        if isinstance(error, BrokenPipeError):  # the reader has had enough; so have we
            return 0
        if error.filename is not None:
            raise
        print(f"qexplorer: the output could not be written: {error.strerror}. Free some space.", file=sys.stderr)
        return 2


def run_program() -> NoReturn:
    """The process as a whole: it ends when `main` does, whatever threads a model's code has left behind."""
    code = 1
    try:
        code = main()
    finally:
        threading.Thread(target=_end, args=(code,), daemon=True).start()
    sys.exit(code)


def _end(code: int) -> None:
    time.sleep(END_S)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)


def _window(words: list[str]) -> int:
    parser = OneLineParser(
        prog="qexplorer",
        description="See what a number format does to the weights of a model, then quantize it.",
        epilog=WINDOW_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files or folders of weights, or synthetic:NAME")
    parser.add_argument("--screenshot", metavar="FILE", help="save a picture of the window and exit")
    parser.add_argument("--size", default="1440x900", metavar="WxH", help="the picture's size in pixels")
    parser.add_argument("--theme", choices=("light", "dark"), help="colours; without it the system's")
    parser.add_argument("--panel", default="", metavar="NAME", help="only this panel in the picture")
    parser.add_argument("--workspace", choices=("explore", "quantize", "learn"), help="what is seen first")
    parser.add_argument("--version", action="version", version=f"qexplorer {__version__}")
    args = parser.parse_args(words)
    size = _size(args.size)
    _refuse_misspelt_commands(args.paths)
    if args.screenshot:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"  # a picture needs no screen, and is the same with any
    if sys.platform == "win32":
        import torch  # noqa: F401  torch's libraries do not load once Qt has loaded its own (pytorch/pytorch#166628)
    problems = platform_check.check()
    if problems:
        for problem in problems:
            print(f"qexplorer: {problem.what} {problem.remedy}", file=sys.stderr)
        return 2
    from qexplorer import app

    if args.screenshot:
        path, workspace = (args.paths or [""])[0], args.workspace or "explore"
        app.save_picture(Path(args.screenshot), size, args.theme or "light", args.panel, path, workspace=workspace)
        return 0
    return app.run_window(args.paths, args.theme, args.workspace)


def _refuse_misspelt_commands(paths: list[str]) -> None:
    """A bare word that is no file is more likely meant as a command than as a file to complain of in a window."""
    for path in paths:
        if path.isalpha() and path != "synthetic" and not Path(path).exists():
            raise UserError(f"There is no command or file “{path}”.", f"Commands: {', '.join(COMMANDS)}.")


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise UserError(f"“{text}” is not a size.", "Write e.g. 1440x900.", field="size") from None
    if not (200 <= width <= 20000 and 200 <= height <= 20000):
        raise UserError(f"A picture of {width}×{height} pixels is not possible.", "Take 200 to 20000 each way.")
    return width, height
