# %% setup
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from workbench import devices, plots

report = devices.detect_devices()  # imports TensorFlow and catches its log lines

# %% setup
import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.client import device_lib

from workbench.devices import readers
from workbench.devices.visibility import visible_positions

# %% setup
SEED = 0
BATCH_SIZE = 64
RECORDED = """\
GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-a0000000-0000-4000-8000-000000000000)
GPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-b1000000-0000-4000-8000-000000000000)
GPU 2: NVIDIA A100-SXM4-80GB (UUID: GPU-c2000000-0000-4000-8000-000000000000)
GPU 3: NVIDIA A100-SXM4-80GB (UUID: GPU-c3000000-0000-4000-8000-000000000000)
"""
machine = readers.parse_nvidia_smi(RECORDED)

# %% 1. Predict: which GPUs are left? [markdown]
# On the recorded machine with its four GPUs, `CUDA_VISIBLE_DEVICES` is set to `"3,GPU-a0,7,1"`. Which of the driver's GPUs does TensorFlow see, in its own order? And with `"GPU-c,0"`? Give two lists of the driver's numbers.

# %% hint [markdown]
# Go through the entries from left to right. An entry is a number or the beginning of a UUID.
#
# (The UUIDs are in the text `RECORDED` of section 3.)

# %% hint [markdown]
# What becomes of all that follows the first entry that names no GPU? And does `GPU-c` name *one* GPU?

# %% start
first_mask = ...  # such as [2, 1]
second_mask = ...

# %% answer
first_mask = [3, 0]  # such as [2, 1]
second_mask = []

# %% why [markdown]
# `"3,GPU-a0,7,1"` begins with GPU 3, which becomes `/GPU:0`. `GPU-a0` is the beginning of one UUID only, that of GPU 0, which becomes `/GPU:1`. There is no GPU 7, so that entry hides itself and the `1` behind it.
#
# `"GPU-c,0"` hides everything: two UUIDs begin with `GPU-c`, so the first entry names no single GPU, and all that follows is hidden too.

# %% shown
for mask in ("3,GPU-a0,7,1", "GPU-c,0"):
    print(f"{mask!r:16}", visible_positions(machine, mask))

# %% shown
# Check
assert visible_positions(machine, "3,GPU-a0,7,1") == [3, 0]
assert visible_positions(machine, "GPU-c,0") == []

# %% wrong says="too many"
first_mask, second_mask = [3, 0, 1], []

# %% wrong says="another order"
first_mask, second_mask = [0, 3], []

# %% wrong says="no GPU 7"
first_mask, second_mask = [3, 0, 7, 1], []

# %% wrong says="not all"
first_mask, second_mask = [3], []

# %% wrong says="`second_mask` has too many"
first_mask, second_mask = [3, 0], [0]

# %% wrong says="`second_mask` has too many"
first_mask, second_mask = [3, 0], [2, 3, 0]

# %% wrong says="must be a list"
first_mask, second_mask = "3,0", []

# %% 2. Change: three devices that share 64 examples [markdown]
# Section 4 gives each of four devices 16 examples and takes the plain mean of their gradients. Now three devices share all 64 as evenly as they can. How many does each take? And change `combine` so that it gives the gradient of the whole batch again.

# %% hint [markdown]
# A gradient of a shard is a mean over its own examples. How much does one example count in a shard of 21, and how much in one of 22?

# %% hint [markdown]
# `np.average` takes `weights=`.

# %% start
three_sizes = ...  # such as [16, 16, 16]


def combine(gradients, sizes):
    """Gives the mean of gradients, float arrays, of shards of these sizes."""
    return np.mean(gradients, axis=0)


# %% answer
three_sizes = [22, 21, 21]  # such as [16, 16, 16]


def combine(gradients, sizes):
    """Gives the mean of gradients, float arrays, of shards of these sizes."""
    return np.average(gradients, axis=0, weights=sizes)


# %% why [markdown]
# 64 examples over three devices are 22, 21 and 21. Each gradient is a mean over its own shard, so the plain mean gives an example in a shard of 21 a little more weight than one in the shard of 22. It comes close and is not the same; weighting each gradient with the size of its shard makes it exact.

# %% shown
x = keras.random.normal((BATCH_SIZE, 3), seed=SEED)
y = x @ [[1.0], [-2.0], [0.5]]
weights = tf.Variable(tf.zeros((3, 1)))


def gradient(rows):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((tf.gather(x, rows) @ weights - tf.gather(y, rows)) ** 2)
    return tape.gradient(loss, weights).numpy()[:, 0]


# %% shown
shards = np.array_split(np.arange(BATCH_SIZE), 3)
gradients = [gradient(rows) for rows in shards]
whole = gradient(np.arange(BATCH_SIZE))
plain = np.mean(gradients, axis=0)
weighted = combine(gradients, three_sizes)
print("plain mean is off by    ", f"{np.abs(plain - whole).max():.3f}")
print("weighted mean is off by ", f"{np.abs(weighted - whole).max():.3f}")

# %% shown
figure, axes = plots.new_figure(6, 2.2)
axes.bar(np.arange(3) - 0.2, np.abs(plain - whole), 0.4, label="plain mean")
axes.bar(np.arange(3) + 0.2, np.abs(weighted - whole), 0.4, label="weighted mean")
axes.set_xticks(range(3), [f"weight {i}" for i in range(3)])
axes.set_ylabel("error of the gradient")
axes.legend()
plots.show(
    figure,
    "The error of the plain mean is visible for weights 0 and 2, the error of the "
    "weighted mean is zero at this scale for all three.",
)

# %% shown
# Check
assert np.allclose(weighted, whole, atol=1e-5)
assert not np.allclose(plain, whole, atol=1e-3)

# %% wrong says="far from the gradient of all 64"
three_sizes = [22, 21, 21]


def combine(gradients, sizes):
    return np.sum(gradients, axis=0)


# %% wrong says="counts more than another"
three_sizes = [22, 21, 21]


def combine(gradients, sizes):
    return np.mean(gradients, axis=0)


# %% wrong says="counts more than another"
three_sizes = [22, 21, 21]


def combine(gradients, sizes):
    return np.average(gradients, axis=0, weights=[1 / size for size in sizes])


# %% wrong says="together 63"
three_sizes = [21, 21, 21]


def combine(gradients, sizes):
    return np.average(gradients, axis=0, weights=sizes)


# %% wrong says="as even as"
three_sizes = [32, 16, 16]


def combine(gradients, sizes):
    return np.average(gradients, axis=0, weights=sizes)


# %% wrong says="must be a list"
three_sizes = 64 / 3


def combine(gradients, sizes):
    return np.average(gradients, axis=0, weights=sizes)


# %% wrong says="one number per weight"
three_sizes = [22, 21, 21]


def combine(gradients, sizes):
    return np.average(gradients, weights=None)


# %% 3. Explain: "just to be sure" [markdown]
# A colleague calls `device_lib.list_local_devices()` at the top of each notebook "just to be sure". Two such notebooks are open on one GPU, and the second one fails at its first tensor. Which statements hold?
#
# - **a** The call builds every device that it lists, and a GPU that is built gives nearly all of its memory to this process.
# - **b** The model in the second notebook is too large for the card.
# - **c** The first notebook keeps the memory until its kernel ends.
# - **d** `devices.grow_memory()` in the next line of the first notebook gives it back.
#
# Then write `count_gpus` anew, so that it answers the colleague's question and builds nothing.

# %% hint [markdown]
# Section 2 tried six ways to ask. Which ones built nothing, and which of these asks TensorFlow?

# %% hint [markdown]
# `tf.config` has a function that lists the devices of one kind.

# %% start
statements = ...  # letters out of "abcd"


def count_gpus():
    kinds = [device.device_type for device in device_lib.list_local_devices()]
    return kinds.count("GPU")


# %% answer
statements = "ac"  # letters out of "abcd"


def count_gpus():
    return len(tf.config.list_physical_devices("GPU"))


# %% why [markdown]
# `list_local_devices` builds every device it lists. On a GPU building means taking nearly all of its memory for this process, and the memory is held until the kernel ends. The first notebook therefore owns the card before it has computed anything, and the second one finds no memory for its first tensor.
#
# The line to change is the call itself: `tf.config.list_physical_devices("GPU")` answers the same question and builds nothing. If both notebooks shall also *compute* on the card, each needs `devices.limit_memory(...)` as well, before its first tensor.

# %% wrong says="still builds the devices"
statements = "ac"


def count_gpus():
    return int(tf.test.is_gpu_available())


# %% wrong says="still builds the devices"
statements = "ac"


def count_gpus():
    return 1 if tf.test.gpu_device_name() else 0


# %% wrong says="TensorFlow sees"
statements = "ac"


def count_gpus():
    return len(tf.config.list_physical_devices())


# %% wrong says="TensorFlow sees"
statements = "ac"


def count_gpus():
    return 100 + tf.test.is_built_with_cuda()


# %% wrong says="b) does not hold"
statements = "abc"


def count_gpus():
    return len(tf.config.list_physical_devices("GPU"))


# %% wrong says="d) does not hold"
statements = "acd"


def count_gpus():
    return len(tf.config.list_physical_devices("GPU"))


# %% wrong says="must be one number"
statements = "ac"


def count_gpus():
    return tf.config.list_physical_devices("GPU")


# %% 4. Diagnose: a GPU that is not there [markdown]
# A training script places its work on `/GPU:9`. Run the cell: no error, no warning. Where was it computed (`total.device`), and why does nobody say so?
#
# - **a** TensorFlow waits for the GPU and computes when it is free.
# - **b** TensorFlow puts an operation elsewhere when its device is not there, and says nothing.
# - **c** `/GPU:9` is another name of the first GPU.
# - **d** `tf.device` has no effect on a sum.
#
# Then mend `place`: it is to give the device's name back if TensorFlow has such a device, and to raise a `ValueError` that names it if not.

# %% hint [markdown]
# The result carries the name of the device that computed it. Compare it with the name that was asked for.

# %% hint [markdown]
# `tf.config.list_logical_devices()` lists what there is; each has a `.name` such as `/device:CPU:0`, which ends like the short name `/CPU:0`.

# %% start
cause = ...  # a letter in quotes


def place(name):
    return name


with tf.device(place("/GPU:9")):
    total = tf.reduce_sum(tf.ones(64))
print("asked for /GPU:9, and computed there:", total.device.endswith("GPU:9"))

# %% answer
cause = "b"  # a letter in quotes


def place(name):
    devices_here = [device.name for device in tf.config.list_logical_devices()]
    if name.replace("/", "/device:") not in devices_here:
        raise ValueError(f"there is no {name} here, only {devices_here}")
    return name


with tf.device(place("/CPU:0")):
    total = tf.reduce_sum(tf.ones(64))
print("asked for /CPU:0, and computed there:", total.device.endswith("CPU:0"))

# %% why [markdown]
# "Soft placement" is on by default: an operation whose device is not there runs on another one that can do it. A script made for a GPU then runs on a machine without one, slowly, and its author looks for the fault in the model. `tf.config.set_soft_device_placement(False)` makes TensorFlow refuse; a line at the start that looks whether the device is there says it more plainly.

# %% shown
# Check: with soft placement off TensorFlow itself refuses
tf.config.set_soft_device_placement(False)
try:
    with tf.device("/GPU:9"):
        tf.reduce_sum(tf.ones(64))
except (tf.errors.InvalidArgumentError, RuntimeError) as error:
    print(type(error).__name__)
finally:
    tf.config.set_soft_device_placement(True)

# %% wrong says="a) does not hold"
cause = "a"


def place(name):
    raise ValueError(name)


# %% wrong says="said nothing"
cause = "b"


def place(name):
    return name


# %% wrong says="said nothing"
cause = "b"


def place(name):
    return name if tf.config.list_physical_devices("GPU") else "/CPU:0"


# %% wrong says="is here"
cause = "b"


def place(name):
    raise ValueError(name)


# %% wrong says="ValueError"
cause = "b"


def place(name):
    devices_here = [device.name for device in tf.config.list_logical_devices()]
    assert name.replace("/", "/device:") in devices_here
    return name


# %% wrong says="does not name"
cause = "b"


def place(name):
    if name != "/CPU:0":
        raise ValueError("no such device")
    return name


# %% wrong says="give back"
cause = "b"


def place(name):
    if name != "/CPU:0":
        raise ValueError(f"no {name}")


# %% wrong says="one letter"
cause = "bd"


def place(name):
    raise ValueError(name)
