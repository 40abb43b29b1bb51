"""The names that `workbench.formats` knows to be harmless, read from the libraries.

Usage: python tests/known_names.py    writes workbench/_data/known_names.json
"""

import inspect
import json
import pathlib
import re

import keras
from keras.src import api_export
from keras.src.saving.keras_saveable import KerasSaveable
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session

TARGET = pathlib.Path(__file__).parents[1] / "workbench" / "_data" / "known_names.json"

# Classes whose config holds code, or names files or modules that are run.
CODE_CLASSES = {
    "FlaxLayer",
    "JaxLayer",
    "Lambda",
    "RematScope",
    "TFSMLayer",
    "TorchModuleWrapper",
}
CODE_FUNCTIONS = {
    "associative_scan",
    "call_with",
    "cond",
    "custom_gradient",
    "deserialize",
    "fori_loop",
    "get",
    "map",
    "remat",
    "rematerialize",
    "saveable",
    "scan",
    "serialize",
    "switch",
    "vectorized_map",
    "while_loop",
}
FUNCTION_MODULES = (
    "activations",
    "constraints",
    "initializers",
    "losses",
    "metrics",
    "ops",
    "ops.image",
    "ops.linalg",
    "ops.nn",
    "ops.numpy",
    "regularizers",
)
# Where Keras 2 kept what Keras 3 still loads.
OLD_MODULES = {
    "keras.engine.functional": ["Functional"],
    "keras.engine.sequential": ["Sequential"],
    "keras.src.engine.functional": ["Functional"],
    "keras.src.engine.sequential": ["Sequential"],
    "keras.src.models.functional": ["Functional"],
    "keras.src.models.sequential": ["Sequential"],
}

# Operations without state that still read, write, talk or call Python.
REACHING_OUT = re.compile(
    r"File|Reader|Py|Debug|Dataset|Snapshot|Iterator|Remote|Rpc|Send|Recv|TPU|Xla"
    r"|Summary|^Copy|^ImmutableConst|BoostedTrees|^Experimental|Service|^_|Mlir|Nccl"
    r"|Collective|Restore|Save|Session|Host|Sleep|Custom|LoadAndRemap|Tpu|^DTensor"
    # Registered only once a LiteRT model was made.
    r"|^TFLite_|^UnidirectionalSequence"
    r"|^Abort$|^GenerateVocabRemapping$|^DecodeProtoV2$|^EncodeProto$|Infeed|Relayout"
)
# Operations with state that touch nothing but the memory of the model.
STATE_IN_MEMORY = re.compile(
    r"(Anonymous|Mutable)?(Dense)?HashTable(OfTensors)?(V2)?|AnonymousMutable.*Table.*"
    r"|MutableDenseHashTable(V2)?|MutableHashTable.*"
    r"|InitializeTableV2|LookupTable(Find|Insert|Size|Remove|Import|Export)V2"
    r"|(VarHandle|ReadVariable|VarIsInitialized|Assign(Add|Sub)?Variable|DestroyResource)Op"
    r"|Variable(V2)?|VariableShape|TemporaryVariable|DisableCopyOnRead"
    r"|Resource(Gather|GatherNd|Scatter\w+|Apply\w+|SparseApply\w+|CountUpTo|StridedSliceAssign)"
    r"|(Partitioned|StatefulPartitioned)Call|(Stateless)?(If|While|Case)|_(If|While)"
    r"|TensorArray(V3|WriteV3|ReadV3|GatherV3|ScatterV3|SizeV3|CloseV3|ConcatV3|SplitV3"
    r"|GradV3|GradWithShape)|Stack(V2|PushV2|PopV2|CloseV2)?"
    r"|Random(Uniform|UniformInt|StandardNormal|Shuffle|Gamma|Poisson|PoissonV2|Crop)"
    r"|TruncatedNormal|ParameterizedTruncatedNormal|Multinomial|SampleDistortedBoundingBox(V2)?"
    r"|Stateful(UniformInt|UniformFullInt|Uniform|StandardNormalV2|StandardNormal"
    r"|TruncatedNormal|RandomBinomial)|Rng(Skip|ReadAndSkip)|NonDeterministicInts"
    r"|StatelessRandomGetAlg|Assert|CheckNumerics(V2)?|GuaranteeConst|Timestamp|Empty"
    r"|CudnnRNN\w*|\w+(?<!FixedUnigram)CandidateSampler|DeviceIndex|(FIFO|PaddingFIFO|RandomShuffle)Queue(V2)?"
    r"|Queue\w+V2|Print|IsTensorFloat32Enabled|Sharded(Filename|Filespec)"
)


def keras_classes():
    """Sorted names of classes that a config may name, by module."""
    found = {module: set(names) for module, names in OLD_MODULES.items()}
    for cls in {*_subclasses(KerasSaveable), *_exported_classes()}:
        if cls.__name__ in CODE_CLASSES or not cls.__module__.startswith("keras."):
            continue
        found.setdefault(cls.__module__, set()).add(cls.__name__)
        for name in api_export.REGISTERED_NAMES_TO_OBJS:
            if api_export.REGISTERED_NAMES_TO_OBJS[name] is cls:
                module, _, exported = name.rpartition(".")
                found.setdefault(module, set()).add(exported)
    return {module: sorted(names) for module, names in sorted(found.items())}


def keras_functions():
    """Sorted names of functions that a config may name."""
    names = set()
    for module in FUNCTION_MODULES:
        home = keras
        for part in module.split("."):
            home = getattr(home, part)
        names |= {
            name
            for name, value in vars(home).items()
            if inspect.isfunction(value) and name not in CODE_FUNCTIONS
        }
    return sorted(name for name in names if not name.startswith("_"))


def tensorflow_ops():
    """Sorted names of operations that touch nothing outside the model."""
    buffer = pywrap_tf_session.TF_GetAllOpList()
    ops = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(buffer)).op
    return sorted(
        op.name
        for op in ops
        if STATE_IN_MEMORY.fullmatch(op.name)
        or not (op.is_stateful or REACHING_OUT.search(op.name))
    )


def _subclasses(cls):
    for child in cls.__subclasses__():
        yield child
        yield from _subclasses(child)


def _exported_classes():
    kinds = (
        keras.initializers.Initializer,
        keras.regularizers.Regularizer,
        keras.constraints.Constraint,
        keras.dtype_policies.DTypePolicy,
        keras.dtype_policies.DTypePolicyMap,
        keras.optimizers.schedules.LearningRateSchedule,
        keras.quantizers.Quantizer,
        keras.losses.Loss,
        keras.metrics.Metric,
        keras.Optimizer,
    )
    for value in api_export.REGISTERED_NAMES_TO_OBJS.values():
        if inspect.isclass(value) and issubclass(value, kinds):
            yield value


def collect():
    """The content of the file."""
    return {
        "keras_classes": keras_classes(),
        "keras_functions": keras_functions(),
        "tensorflow_ops": tensorflow_ops(),
    }


if __name__ == "__main__":
    TARGET.write_text(json.dumps(collect(), indent=0) + "\n")
