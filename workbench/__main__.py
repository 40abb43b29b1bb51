"""`python -m workbench inspect FILE`: what a model file is, keeps, loses and would do.

Each command is a function that takes the parsed arguments and returns the exit code.
"""

import argparse
import sys

from workbench import formats


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


def _parser():
    parser = argparse.ArgumentParser(prog="python -m workbench")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
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
