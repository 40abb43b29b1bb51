"""What going on from a checkpoint of `fit` would keep."""

from workbench.checkpoints import identity, tables
from workbench.checkpoints.rates import (
    describe_change,
    optimizer_of,
    rate_of,
    rate_variable,
)
from workbench.checkpoints.store import MANIFEST, DamagedError, Store, read


def explain_own(path, model):
    """See `explain_restore`; returns its kind and its items."""
    damaged = []
    if (path / MANIFEST).is_file():
        try:
            checkpoint, tensors = read(path)
        except DamagedError as error:
            checkpoint, damaged = None, [(path, str(error))]
    else:
        checkpoint, tensors, damaged = Store(path).newest()
    kind = "A checkpoint of checkpoints.fit, restored by the same call of it."
    broken = [
        (f"checkpoint {name.name}", "lost", f"damaged: {why}") for name, why in damaged
    ]
    if checkpoint is None:
        return kind, broken
    manifest = checkpoint.manifest
    refusal = _refusal(model, manifest)
    if refusal:
        return kind, [*broken, ("everything", "refused", refusal)]
    count = len(manifest.get("by_hash", {}))
    named = (
        [("frozen weights", "kept", f"{count} arrays, the model's own")]
        if count
        else []
    )
    callbacks = ", ".join(name for name, _ in manifest["callbacks"])
    schedule = "the schedule goes on at its step"
    if rate_variable(model) is not None:
        theirs = [float(v) for n, v in tensors.items() if _is_rate(n)]
        schedule = describe_change(rate_of(model), theirs[-1] if theirs else None)
    return kind, [
        *broken,
        ("weights", "kept", _count(tensors, "model/", "with random states")),
        *named,
        ("optimizer", "kept", _count(tensors, "optimizer/", "built if need be")),
        ("learning rate", "kept", schedule),
        ("metrics", "kept", _count(tensors, "metrics/", "of the epoch begun")),
        ("random states", "kept", "layers, Keras, random, NumPy, TensorFlow's seed"),
        (
            "callbacks and History",
            "kept",
            f"{callbacks}; one not among them begins anew",
        ),
        (
            "place in the data",
            "kept",
            f"{checkpoint.epoch} epochs and {checkpoint.step} steps; other data than "
            f"{_data(manifest['identity']['data'])} is refused",
        ),
    ]


def _refusal(model, manifest):
    if not model.compiled or optimizer_of(model) is None:
        return "the model is not compiled"
    if not model.built:
        return None  # `fit` builds it, and then compares
    other = identity.difference(
        identity.identity_of_model(model), manifest["identity"]["model"]
    )
    if other:
        return f"another model: {other}"
    model_only = {f"model/{i}:{v.path}": v for i, v in enumerate(model.variables)}
    other = tables.find_difference(model_only, manifest)
    return other and f"frozen weights that are only named by their hash: {other}"


def _is_rate(name):
    return name.startswith("optimizer/") and name.endswith("/learning_rate")


def _count(tensors, group, more):
    count = sum(name.startswith(group) for name in tensors)
    return f"{count} arrays, {more}"


def _data(data):
    if data["kind"] == "arrays":
        return f"{data['samples']} samples in batches of {data['batch_size']}"
    return f"a {data['kind']} of {data['steps_per_epoch']} steps"
