"""One finding, and what the doctor says of a machine as a whole."""

import dataclasses

from workbench.devices.doctor.causes import CAUSES, STAGE_OF
from workbench.devices.doctor.machine import hide_private, shorten_uuids
from workbench.devices.records import text_table
from workbench.reports import Code, Heading, Note, Report


@dataclasses.dataclass(frozen=True)
class Finding(Report):
    """One reason why TensorFlow does not see, or cannot use, a GPU.

    Attributes:
        code: str, a short name that stays, such as `"no-driver"`.
        cause: str, what is the case, one sentence.
        evidence: str, the exact readings that say so, UUIDs shortened.
        meaning: str, what that means.
        remedy: str, one command to copy.
        check: str, a command that shows whether it helped.
        stage: str, where on the way from the package to the card: `"package"`,
            `"access"`, `"driver"`, `"libraries"` or `"card"`.
        blocking: bool, whether it keeps TensorFlow from all GPUs.
    """

    code: str
    cause: str
    evidence: str
    meaning: str
    remedy: str
    check: str
    stage: str
    blocking: bool = True

    def blocks(self):
        """Returns the finding as a heading, notes and two lines to copy."""
        return self.numbered()

    def numbered(self, number=None):
        """Returns the finding as one of several.

        Args:
            number: int, its place, or None when it stands alone.

        Returns:
            Tuple of blocks.
        """
        return (
            Heading(self.cause if number is None else f"{number}. {self.cause}"),
            Note(f"Seen: {self.evidence}"),
            Note(f"It means: {self.meaning}"),
            Note("Remedy:"),
            Code(self.remedy),
            Note("Check again:"),
            Code(self.check),
        )


def make_finding(code, evidence, values):
    """Fills in what is said of a cause.

    Args:
        code: str, a key of `CAUSES`.
        evidence: Iterable of str, readings.
        values: dict of str, what the cause's texts leave open.

    Returns:
        `Finding`.
    """
    cause = CAUSES[code]
    return Finding(
        code=code,
        cause=cause.title.format(**values),
        evidence=hide_private("; ".join(dict.fromkeys(evidence))),
        meaning=cause.meaning.format(**values),
        # A shell does not expand ~ between quotes.
        remedy=shorten_uuids(cause.remedy.format(**values)).replace("~/", "$HOME/"),
        check=cause.check,
        stage=STAGE_OF[code],
        blocking=cause.blocking,
    )


class Diagnosis(Report, list):
    """A list of `Finding`, likeliest first, empty when all is well; it prints well.

    Attributes:
        machine: `Machine`, what was read.
        verdict: str, all in one line.
    """

    __slots__ = ("machine", "verdict")

    def __init__(self, findings, *, machine, verdict):
        super().__init__(findings)
        self.machine = machine
        self.verdict = verdict

    def __repr__(self):
        return f"Diagnosis({[finding.code for finding in self]})"

    def blocks(self):
        """Returns the verdict and the findings."""
        yield Note(self.verdict)
        for number, finding in enumerate(self, 1):
            yield from finding.numbered(number)

    def versions(self):
        """Returns what an issue has to say of the machine.

        Returns:
            Tuple of a heading and a table.
        """
        machine = self.machine
        rows = {
            **machine.versions,
            "system": f"{machine.system} {machine.release} {machine.architecture}",
            "container": machine.container,
            "kernel module": machine.kernel_module,
            "cuInit": _describe(machine.cuinit),
            **machine.environment,
        }
        for number, gpu in enumerate(machine.gpus):
            known = (gpu.model, gpu.compute_capability, gpu.mig and f"MIG {gpu.mig}")
            rows[f"GPU {number}"] = ", ".join(filter(None, known))
        return (
            Heading("To paste into an issue"),
            text_table(
                ("what", "reading"),
                ((what, hide_private(text)) for what, text in rows.items() if text),
            ),
        )


def _describe(cuinit):
    if cuinit is None:
        return ""
    if cuinit.status is None:
        return cuinit.ending
    count = "" if cuinit.count is None else f", devices: {cuinit.count}"
    return f"{cuinit.status}{count}"
