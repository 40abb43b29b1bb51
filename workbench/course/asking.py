"""What checks ask of every answer: one number, a function, some of the letters."""

import numbers

from workbench.course.verdicts import Wrong


def _shown(value):
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}…"


def number(name, value, unit=""):
    """Takes an answer as one number.

    Args:
        name: str, the name that the reader gave the value to.
        value: What they gave: an int, a float, or an array or tensor of one.
        unit: str, what is counted or measured, for the message.

    Returns:
        float.

    Raises:
        Wrong: If it is anything else.
    """
    if hasattr(value, "numpy"):
        value = value.numpy()
    if hasattr(value, "item") and getattr(value, "size", 0) == 1:
        value = value.item()
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    what = f"one number ({unit})" if unit else "one number"
    raise Wrong(f"`{name}` must be {what}. Received: {name}={_shown(value)}")


def integers(name, value, what="whole numbers"):
    """Takes an answer as a list of whole numbers.

    Args:
        name: str, the name that the reader gave the list to.
        value: What they gave: a list, a tuple or an array with one axis.
        what: str, what is listed, for the message.

    Returns:
        List of int.

    Raises:
        Wrong: If it is anything else.
    """
    value = value.numpy() if hasattr(value, "numpy") else value
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, (list, tuple)) or not all(
        isinstance(part, numbers.Integral) for part in value
    ):
        raise Wrong(f"`{name}` must be a list of {what}. Received: {_shown(value)}")
    return [int(part) for part in value]


def function(name, value):
    """Takes an answer as a function.

    Args:
        name: str, the name that the reader gave it.
        value: What they gave.

    Returns:
        The function.

    Raises:
        Wrong: If it cannot be called.
    """
    if not callable(value):
        raise Wrong(f"`{name}` must be a function. Received: {name}={_shown(value)}")
    return value


def letters(name, value, statements):
    """Takes an answer as the letters of those statements that hold.

    A statement that was chosen and does not hold is named with what speaks against
    it; one that holds and was not chosen is not named.

    Args:
        name: str, the name that the reader gave the letters to.
        value: What they gave, such as `"bd"` or `["b", "d"]`.
        statements: dict of letter to None, if the statement holds, or to str, what
            speaks against it.

    Raises:
        Wrong: If the letters are not those of the statements that hold.
    """
    every = "".join(statements)
    holds = {letter for letter, against in statements.items() if against is None}
    form = f'`{name}` must be letters out of "{every}", in quotes, such as "{every[0]}"'
    if len(holds) == 1:
        form = f'`{name}` must be one letter out of "{every}", in quotes'
    if isinstance(value, (list, tuple, set)) and all(isinstance(v, str) for v in value):
        value = "".join(sorted(value))
    if not isinstance(value, str):
        raise Wrong(f"{form}. Received: {name}={_shown(value)}")
    chosen = set(value.lower()) - set(" ,;")
    if not chosen or not chosen <= set(statements):
        raise Wrong(f"{form}. Received: {name}={_shown(value)}")
    if len(holds) == 1 and len(chosen) > 1:
        raise Wrong(f"{form}. You chose {len(chosen)}.")
    for letter in sorted(chosen - holds):
        raise Wrong(f"{letter}) does not hold. {statements[letter]}")
    if holds - chosen:
        raise Wrong("What you chose holds, but it is not all that does.")
