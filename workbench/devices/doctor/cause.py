"""What is said of one cause."""

import dataclasses

CHECK = "python -m workbench doctor"


@dataclasses.dataclass(frozen=True)
class Cause:
    """One cause; `{…}` in a text is filled in from the machine.

    Attributes:
        code: str, its short name, which stays.
        title: str, what is the case.
        meaning: str, what that means.
        remedy: str, to be copied.
        check: str, a command that shows whether it helped.
        blocking: bool, whether it keeps TensorFlow from all GPUs.
    """

    code: str
    title: str
    meaning: str
    remedy: str
    check: str = CHECK
    blocking: bool = True
