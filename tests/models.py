"""Small models that several tests train."""

import keras
from keras import layers


def mlp(*extra):
    """784-32-10, with more layers before the last if given."""
    return keras.Sequential(
        [
            layers.Input((28, 28)),
            layers.Flatten(),
            layers.Dense(32, activation="relu", name="hidden"),
            *extra,
            layers.Dense(10, name="logits"),
        ]
    )


def mlp_with_dropout():
    """The MLP with dropout and layer normalization."""
    return mlp(layers.Dropout(0.3), layers.LayerNormalization())


def mlp_with_batch_norm():
    """The MLP with batch normalization."""
    return mlp(layers.BatchNormalization())


def cnn():
    """Two small convolutions."""
    return keras.Sequential(
        [
            layers.Input((28, 28)),
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPool2D(),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


def lstm():
    """An LSTM that reads a digit row by row."""
    return keras.Sequential([layers.Input((28, 28)), layers.LSTM(32), layers.Dense(10)])


def compiled(build, optimizer, *, seed=3, **arguments):
    """Builds and compiles for digits, after `keras.utils.set_random_seed(seed)`."""
    keras.utils.set_random_seed(seed)
    model = build()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], **arguments)
    return model


def state_of(model):
    """Everything that training changes: dict path -> copied array."""
    variables = [*model.variables, *model.optimizer.variables]
    return {variable.path: variable.numpy().copy() for variable in variables}
