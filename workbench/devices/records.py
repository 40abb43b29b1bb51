"""The frozen records of the devices, and how they read."""

import dataclasses

from workbench.reports import Heading, Note, Report, Table, format_bytes


@dataclasses.dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG instance of a GPU, as the driver and TensorFlow know it.

    Attributes:
        name: TensorFlow's name, `"/GPU:0"`, or None when TensorFlow does not use it.
        model: str, the maker's name for it, `"unknown"` where nobody tells.
        memory: int, bytes in all, or None when not known.
        memory_used: int, bytes in use by any program, or None when not known.
        index: int, the driver's number (of the whole GPU for a MIG instance), or
            None when only TensorFlow knows this GPU.
        uuid: str, the driver's name for it, or None when not known.
        compute_capability: str such as `"8.0"`, or None when not known.
        mig: None without MIG, `"on"` for a GPU that is split into instances, and
            the profile such as `"1g.20gb"` for an instance.
        visible: bool, whether `CUDA_VISIBLE_DEVICES` lets a program see it.
    """

    name: str | None = None
    model: str = "unknown"
    memory: int | None = None
    memory_used: int | None = None
    index: int | None = None
    uuid: str | None = dataclasses.field(default=None, repr=False)
    compute_capability: str | None = None
    mig: str | None = None
    visible: bool = True

    @property
    def short_uuid(self):
        """The UUID's beginning, enough to tell GPUs apart; a str, `""` if unknown."""
        return f"{self.uuid[:12]}…" if self.uuid and len(self.uuid) > 12 else ""

    @property
    def is_instance(self):
        """Whether this is a MIG instance and not a whole GPU; bool."""
        return self.mig not in (None, "on")


@dataclasses.dataclass(frozen=True)
class Cpu:
    """The processor.

    Attributes:
        name: TensorFlow's name, `"/CPU:0"`, or None when TensorFlow was not asked.
        model: str, the maker's name for it.
        cores: int, physical cores, or None when not known.
        threads: int, what the operating system counts as processors.
    """

    name: str | None
    model: str
    cores: int | None
    threads: int


@dataclasses.dataclass(frozen=True)
class Source:
    """One place where GPUs were looked for.

    Attributes:
        name: str, such as `"NVML"`.
        num_gpus: int, how many it shows, or None when it did not answer.
        detail: str, why it did not answer or was not asked, else `""`.
    """

    name: str
    num_gpus: int | None
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class DeviceReport(Report):
    """What this machine has and what TensorFlow sees of it.

    Attributes:
        gpus: Tuple of `Gpu` that TensorFlow can use, in TensorFlow's order. When
            TensorFlow does not answer, those that the driver lets a program see.
        cpus: Tuple of `Cpu`.
        driver_gpus: Tuple of `Gpu`, everything the driver shows, masked or not.
        sources: Tuple of `Source`, who was asked and what came of it; the last is
            TensorFlow.
        mask: str, `CUDA_VISIBLE_DEVICES` as it was set, or None when it was not.
        memory: int, bytes of main memory this process may use.
        memory_available: int, bytes of it that are free now.
        versions: dict name -> str of Python, TensorFlow, Keras and the driver.
        build: dict of what TensorFlow was built with, read from its files; empty
            when they were not found.
        notes: Tuple of str, what the reader should know about the above.
        messages: Tuple of str, the warnings and errors TensorFlow wrote when it
            looked; it looks once in a process, later reports have none.
    """

    gpus: tuple
    cpus: tuple
    driver_gpus: tuple
    sources: tuple
    mask: str | None
    memory: int
    memory_available: int
    versions: dict
    build: dict
    notes: tuple = ()
    messages: tuple = ()

    def blocks(self):
        """Returns the report as headings, notes and tables."""
        return (
            *self._gpu_blocks(),
            *self._driver_blocks(),
            Heading("Where GPUs were looked for"),
            text_table(
                ("source", "GPUs", "remark"),
                (
                    (s.name, "-" if s.num_gpus is None else s.num_gpus, s.detail)
                    for s in self.sources
                ),
            ),
            Heading("Processor and memory"),
            text_table(
                ("TensorFlow's name", "model", "cores", "threads"),
                ((c.name or "-", c.model, c.cores, c.threads) for c in self.cpus),
            ),
            Note(
                f"Main memory: {format_bytes(self.memory_available)} free of "
                f"{format_bytes(self.memory)}."
            ),
            Heading("Versions"),
            text_table(("what", "version"), self.versions.items()),
            Note(_describe_build(self.build)),
            *self._message_blocks(),
        )

    @property
    def tensorflow_answered(self):
        """Whether `gpus` are what TensorFlow itself named; bool."""
        return self.sources[-1].num_gpus is not None

    def _gpu_blocks(self):
        if self.tensorflow_answered:
            yield Heading(f"GPUs that TensorFlow can use: {len(self.gpus)}")
        else:
            yield Heading(f"GPUs that a program may use: {len(self.gpus)}")
        if self.gpus:
            yield text_table(
                ("TensorFlow's name", "model", "memory", "in use"),
                (
                    (
                        gpu.name or "-",
                        gpu.model,
                        format_bytes(gpu.memory),
                        format_bytes(gpu.memory_used),
                    )
                    for gpu in self.gpus
                ),
            )
        else:
            yield Note("None: everything runs on the processor.")

    def _driver_blocks(self):
        yield Heading(f"GPUs that the driver shows: {_count_whole(self.driver_gpus)}")
        if self.driver_gpus:
            columns = (
                "number",
                "model",
                "memory",
                "in use",
                "capability",
                "MIG",
                "UUID",
                "TensorFlow",
            )
            yield text_table(
                columns, (self._driver_row(gpu) for gpu in self.driver_gpus)
            )
        yield Note(
            "CUDA_VISIBLE_DEVICES is not set: nothing is hidden."
            if self.mask is None
            else f'CUDA_VISIBLE_DEVICES is "{self.mask}".'
        )
        yield from (Note(note) for note in self.notes)

    def _driver_row(self, gpu):
        return (
            gpu.index,
            gpu.model,
            format_bytes(gpu.memory),
            format_bytes(gpu.memory_used),
            gpu.compute_capability,
            gpu.mig,
            gpu.short_uuid,
            gpu.name or self._why_unnamed(gpu),
        )

    def _why_unnamed(self, gpu):
        if gpu.mig == "on":
            return "split"
        if not gpu.visible:
            return "hidden"
        unused = self.tensorflow_answered and not self.gpus
        return "not used" if unused else "not known"

    def _message_blocks(self):
        if self.messages:
            yield Heading("What TensorFlow wrote while it looked")
            yield from (Note(message) for message in self.messages)


@dataclasses.dataclass(frozen=True)
class MemorySetting(Report):
    """What `grow_memory` or `limit_memory` did.

    Attributes:
        gpus: Tuple of str, the TensorFlow names it holds for, empty without a GPU.
        effect: str, one sentence.
    """

    gpus: tuple
    effect: str

    def blocks(self):
        """Returns the sentence."""
        return (Note(self.effect),)


def text_table(columns, rows):
    """Makes a table of values of any kind.

    Args:
        columns: Tuple of str.
        rows: Iterable of rows; None in a row is shown as a dash.

    Returns:
        `reports.Table`.
    """
    return Table(
        columns,
        tuple(
            tuple("-" if cell is None else str(cell) for cell in row) for row in rows
        ),
    )


def _count_whole(gpus):
    return sum(not gpu.is_instance for gpu in gpus)


def _describe_build(build):
    if not build:
        return "What TensorFlow was built with is not known."
    if not build.get("is_cuda_build"):
        return "TensorFlow was built without CUDA: it cannot use an NVIDIA GPU."
    capabilities = ", ".join(build.get("cuda_compute_capabilities", ()))
    return (
        f"TensorFlow was built with CUDA {build.get('cuda_version')} and cuDNN "
        f"{build.get('cudnn_version')}, for {capabilities}."
    )
