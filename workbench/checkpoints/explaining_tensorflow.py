"""What restoring a TensorFlow checkpoint would keep."""

import collections

import tensorflow as tf

from workbench.checkpoints.rates import optimizer_of


def explain_tensorflow(path, model):
    """See `explain_restore`; returns its kind and its items."""
    prefix = tf.train.latest_checkpoint(path) if path.is_dir() else str(path)
    found = dict(tf.train.list_variables(prefix))
    has_optimizer = any("optimizer/" in name for name in found)
    shapes = collections.Counter(
        tuple(shape)
        for name, shape in found.items()
        # Its moments have the shapes of weights, and may hide that these are missing.
        if "optimizer/" not in name or "/_trainable_variables/" in name
    )
    missing = collections.Counter(tuple(v.shape) for v in model.weights) - shapes
    iterator = any(name.endswith("/ITERATOR_STATE") for name in found)
    weights = "kept", f"{len(model.weights)} arrays, if the names of attributes agree"
    if missing:
        shape = next(iter(missing))
        weights = "lost", f"an array of shape {shape} is not in the file"
    optimizer = "lost", "the file has none"
    if has_optimizer and not optimizer_of(model):
        optimizer = "lost", "the model is not compiled"
    elif has_optimizer:
        optimizer = (
            "kept",
            "the learning rate with it, if what is restored into has this optimizer; "
            "assert_existing_objects_matched() tells",
        )
    place = "lost", "only a tf.data iterator can be in it, and there is none"
    if iterator:
        place = "kept", "an iterator, if it is restored into one of the same data set"
    return "A TensorFlow checkpoint, restored by tf.train.Checkpoint.restore.", [
        ("weights", *weights),
        ("optimizer", *optimizer),
        ("random states", "lost", "those of Keras's layers and the global ones"),
        ("callbacks and History", "lost", "the file has none"),
        ("place in the data", *place),
    ]
