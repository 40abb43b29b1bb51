"""A graph of operations as the readers of both its notations give it."""

import dataclasses

DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    11: "qint8",
    12: "quint8",
    13: "qint32",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    20: "resource",
    21: "variant",
    22: "uint32",
    23: "uint64",
    29: "int4",
    30: "uint4",
}


@dataclasses.dataclass
class Node:
    """An operation of a graph.

    Attributes:
        name: str.
        op: str.
        inputs: List of str, as the graph writes them.
        attributes: dict name -> str, int, list or `Tensor`; only what is looked at.
    """

    name: str = ""
    op: str = ""
    inputs: list = dataclasses.field(default_factory=list)
    attributes: dict = dataclasses.field(default_factory=dict)

    @property
    def takes(self):
        """List of str, names of the operations whose results it takes."""
        return [name.removeprefix("^").split(":")[0] for name in self.inputs]

    @property
    def functions(self):
        """List of str, names of functions that it calls."""
        return self.attributes.get("functions", [])


@dataclasses.dataclass
class Tensor:
    """What is known of a constant.

    Attributes:
        dtype: str.
        shape: Tuple of int, or None.
        strings: List of bytes, its first values where it holds strings.
    """

    dtype: str = "unknown"
    shape: tuple | None = ()
    strings: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Function:
    """A function in the library of a graph.

    Attributes:
        name: str.
        arguments: List of str.
        nodes: List of `Node`.
    """

    name: str = ""
    arguments: list = dataclasses.field(default_factory=list)
    nodes: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Graph:
    """A GraphDef.

    Attributes:
        nodes: List of `Node`.
        functions: List of `Function`.
        producer: int, the version of the graph format that wrote it, or None.
    """

    nodes: list = dataclasses.field(default_factory=list)
    functions: list = dataclasses.field(default_factory=list)
    producer: int | None = None


@dataclasses.dataclass
class MetaGraph:
    """A graph with what is needed to use it.

    Attributes:
        graph: `Graph`.
        version: str, of TensorFlow, or None.
        tags: List of str.
        saver: dict of "filename", "save" and "restore" -> str, names in the graph.
        assets: List of str, names of tensors that hold paths of asset files.
        signatures: dict name -> `(inputs, outputs)`, each a dict name -> tensor name.
        exported: set of str, functions that callers can reach.
        layers: List of str, JSON that Keras 2 wrote about its layers.
    """

    graph: Graph = dataclasses.field(default_factory=Graph)
    version: str | None = None
    tags: list = dataclasses.field(default_factory=list)
    saver: dict = dataclasses.field(default_factory=dict)
    assets: list = dataclasses.field(default_factory=list)
    signatures: dict = dataclasses.field(default_factory=dict)
    exported: set = dataclasses.field(default_factory=set)
    layers: list = dataclasses.field(default_factory=list)
