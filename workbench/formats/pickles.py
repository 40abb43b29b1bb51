"""Pickles, read instruction by instruction and never loaded."""

import pickletools
import re

from workbench.formats.sources import DamagedError, SourceFile

# What arrays, numbers and plain containers are made of.
_HARMLESS = {
    ("_codecs", "encode"),
    ("builtins", "bytearray"),
    ("builtins", "complex"),
    ("builtins", "frozenset"),
    ("builtins", "range"),
    ("builtins", "set"),
    ("builtins", "slice"),
    ("collections", "OrderedDict"),
    ("datetime", "date"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    ("ml_dtypes", "bfloat16"),
    *(
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (
            ("multiarray", "_reconstruct"),
            ("multiarray", "scalar"),
            ("numeric", "_frombuffer"),
        )
    ),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
}
_STRINGS = {
    "BINSTRING",
    "BINUNICODE",
    "BINUNICODE8",
    "SHORT_BINSTRING",
    "SHORT_BINUNICODE",
    "STRING",
    "UNICODE",
}
_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET = {"GET", "BINGET", "LONG_BINGET"}
# Found by number, from a register outside the file.
_OUTSIDE = {"EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"}
_TEXT_START = re.compile(rb"(\(|\]|\}|c[A-Za-z_][\w.]*\n|[IFLSV].{0,40}\n|N|\))")


def looks_like_text_pickle(source):
    """Says whether a source may be a pickle of protocol 0 or 1."""
    if source.size < 2 or not _TEXT_START.match(source.head(64)):
        return False
    if source.read(source.size - 1, 1) not in (b".", b"\n"):
        return False
    try:
        for count, _ in enumerate(pickletools.genops(SourceFile(source))):
            if count > 1000:
                return True
    except (ValueError, EOFError, IndexError, UnicodeDecodeError, OverflowError):
        return False
    return True


def inspect(source, look):
    """Looks into a pickle."""
    look.kind = "pickle"
    names, count = _globals(source, look)
    dangerous = [pair for pair in names if pair not in _HARMLESS]
    for module, name in dangerous[:50]:
        text = f"calls {module}.{name} of this machine"
        look.risk(f"{module}.{name}"[:200], "pickle", text)
    if not dangerous and names:
        look.notes.append("It only makes arrays and plain containers.")
    look.keeps.append(f"Python objects, in {count} instructions")
    look.loses.append("what they mean: no pickle says how it was trained")


def _globals(source, look):
    """Returns the `(module, name)` pairs that a pickle asks for, and its length."""
    found, count, strings = {}, 0, _Strings()
    try:
        for opcode, argument, _ in pickletools.genops(SourceFile(source)):
            look.budget.check()
            count += 1
            if opcode.name in ("GLOBAL", "INST"):
                found[tuple(argument.split(" ", 1))] = None
            elif opcode.name == "STACK_GLOBAL":
                found[strings.pair()] = None
            elif opcode.name in _OUTSIDE:
                look.risk("", "pickle", "takes objects from outside the file")
            strings.step(opcode.name, argument)
    except (ValueError, EOFError, IndexError, OverflowError) as error:
        raise DamagedError(f"the pickle is damaged: {error}") from None
    return list(found), count


class _Strings:
    """The last strings on a pickle's stack, where names are taken from."""

    def __init__(self):
        self._latest, self._memo, self._top = [], {}, None

    def step(self, name, argument):
        """Follows one instruction."""
        if name in _STRINGS:
            self._push(str(argument))
        elif name in _GET:
            self._push(self._memo.get(argument))
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._top
        elif name in _PUT:
            self._memo[argument] = self._top
        elif name not in ("FRAME", "PROTO"):
            self._top = None

    def _push(self, text):
        self._top = text
        if text is not None:
            self._latest = [*self._latest[-3:], text]

    def pair(self):
        """Returns the module and the name that a STACK_GLOBAL takes."""
        pair = tuple(self._latest[-2:])
        return pair if len(pair) == 2 else ("unknown", "unknown")
