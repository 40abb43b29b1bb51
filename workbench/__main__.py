"""The commands of `python -m workbench`: `doctor`, `inspect FILE`, `launch SCRIPT`.

Each command is a function that takes the parsed arguments and returns the exit code.
"""

import argparse
import dataclasses
import pathlib
import signal
import sys

from workbench import devices, formats
from workbench.reports import render_text


def inspect(arguments):
    """Prints the report of each file; 0 if all are harmless, 1 if one is not."""
    code = 0
    for filepath in arguments.file:
        try:
            report = formats.inspect_file(filepath)
        except OSError as error:
            sys.stderr.write(f"{error}\n")
            code = 2
            continue
        sys.stdout.write(f"{report}\n\n")
        code = max(code, int(not report.is_harmless))
    return code


def doctor(arguments):
    """Prints why TensorFlow does not see the GPU; 0 if nothing speaks against it."""
    try:
        text = pathlib.Path(arguments.log).read_text() if arguments.log else ""
        log = tuple(text.splitlines())
        if arguments.machine:
            machine = devices.load_machine(arguments.machine)
            machine = dataclasses.replace(machine, log=(*machine.log, *log))
        else:
            machine = devices.read_machine(
                cuinit=not arguments.quick, seconds=arguments.seconds, log=log
            )
        if arguments.save:
            machine.save(arguments.save)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    diagnosis = devices.diagnose(machine)
    about = render_text(diagnosis.versions())
    sys.stdout.write(f"{diagnosis}\n\n{about}\n")
    return int(bool(diagnosis))


def launch(arguments):
    """Runs a script as several workers; 0 if all ended well, 1 if one was lost."""
    # Without this, what ends the launcher would leave its workers.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        devices.launch_workers(
            [sys.executable, arguments.script, *arguments.argument],
            arguments.workers,
            seconds=arguments.seconds,
            restarts=arguments.restarts,
            capture=False,
        )
    except (devices.WorkerError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1 if isinstance(error, devices.WorkerError) else 2
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _seconds(text):
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number


def _add_doctor(commands):
    command = commands.add_parser(
        "doctor",
        help="say why TensorFlow does not see a GPU",
        description="Says why TensorFlow does not see a GPU, and what to do. Imports "
        "no TensorFlow, starts no device. Exit code: 0 nothing found, 1 findings, 2 a "
        "file cannot be read or written.",
    )
    command.add_argument("--log", help="a file with lines that TensorFlow wrote")
    command.add_argument("--quick", action="store_true", help="do not try the driver")
    command.add_argument(
        "--seconds", type=_seconds, default=1.5, help="how long the driver may take"
    )
    command.add_argument("--save", help="store what was read in this JSON file")
    command.add_argument("--machine", help="diagnose what --save stored elsewhere")
    command.set_defaults(run=doctor)


def _add_launch(commands):
    command = commands.add_parser(
        "launch",
        help="run a script as several workers on this machine",
        description="Runs a script as several workers, each with its TF_CONFIG, and "
        "ends all when one is lost. Exit code: 0 all ended well, 1 one was lost, 2 the "
        "arguments are wrong.",
    )
    command.add_argument("--workers", type=int, default=2, help="how many")
    command.add_argument(
        "--restarts", type=int, default=0, help="how often all may begin anew"
    )
    command.add_argument(
        "--seconds", type=_seconds, default=12.0, help="within which all must join"
    )
    command.add_argument("script", help="a Python file")
    command.add_argument("argument", nargs=argparse.REMAINDER, help="of the script")
    command.set_defaults(run=launch)


def _parser():
    parser = argparse.ArgumentParser(prog="python -m workbench")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_doctor(commands)
    _add_launch(commands)
    command = commands.add_parser(
        "inspect",
        help="look into model files without loading them",
        description="Looks into model files without loading them and without running "
        "anything of them. Exit code: 0 harmless, 1 something speaks against loading, "
        "2 no such file.",
    )
    command.add_argument("file", nargs="+", help="a file, a folder or a checkpoint")
    command.set_defaults(run=inspect)
    return parser


def main(arguments=None):
    """Runs the command line.

    Args:
        arguments: List of str, or None for those of this process.

    Returns:
        int, the exit code.
    """
    parsed = _parser().parse_args(arguments)
    return parsed.run(parsed)


if __name__ == "__main__":
    sys.exit(main())
