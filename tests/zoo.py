"""Small models of every kind: what capturing and its like must cope with."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

X = np.random.default_rng(0).normal(size=(3, 6, 4)).astype("float32")
ROW = X[:, 0]
IMAGES = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype("float32")
TOKENS = np.array([[1, 2, 3, 0], [4, 5, 0, 0]])


def chain(shape, *parts):
    return keras.Sequential([keras.Input(shape), *parts])


def functional(shape, call, **arguments):
    inputs = keras.Input(shape, **arguments)
    return keras.Model(inputs, call(inputs))


def sequential():
    return chain(
        (4,), layers.Dense(3, activation="relu"), layers.Dropout(0.5), layers.Dense(2)
    ), ROW


def sequential_not_called():
    return keras.Sequential([layers.Dense(3, activation="tanh"), layers.Dense(2)]), ROW


def convolutional():
    return chain(
        (8, 8, 3),
        layers.Conv2D(4, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.MaxPool2D(),
        layers.Flatten(),
        layers.Dense(2, activation="softmax"),
    ), IMAGES


def separable():
    return chain(
        (8, 8, 3),
        layers.SeparableConv2D(4, 3),
        layers.DepthwiseConv2D(3),
        layers.Conv2D(4, 3, groups=4, padding="same"),  # Keras compiles it with XLA
        layers.ReLU(6),
        layers.GlobalAveragePooling2D(),
    ), IMAGES


def residual():
    def call(x):
        y = layers.Dense(4, activation="relu")(x)
        return layers.Add()([x, y])

    return functional((4,), call), ROW


def functional_operations():
    def call(x):
        y = ops.relu(layers.Dense(4)(x))
        return ops.concatenate([y + x, ops.exp(x)], axis=-1)

    return functional((4,), call), ROW


def nested():
    inner = functional((4,), layers.Dense(3, name="deep"))
    inner.name = "inner"
    return functional((4,), lambda x: layers.Dense(2)(inner(x))), ROW


def nested_twice():
    block = chain((4,), layers.Dense(4, name="deep"), layers.Dense(4))
    return functional((4,), lambda x: block(block(x))), ROW


def shared():
    dense = layers.Dense(4, name="shared")
    return functional((4,), lambda x: dense(ops.tanh(dense(x)))), ROW


def list_inputs():
    a, b = keras.Input((4,)), keras.Input((6, 4))
    y = layers.Concatenate()([layers.Dense(3)(a), layers.Flatten()(b)])
    return keras.Model([a, b], layers.Dense(2)(y)), [ROW, X]


def dict_inputs():
    a, b = keras.Input((4,), name="input_z"), keras.Input((4,), name="input_a")
    y = layers.Subtract()([layers.Dense(3)(a), layers.Dense(3)(b)])
    return keras.Model({"input_z": a, "input_a": b}, y), {
        "input_a": ROW,
        "input_z": ROW + 1,
    }


def several_outputs():
    inputs = keras.Input((4,))
    y = layers.Dense(3, name="input_like")(inputs)
    return keras.Model(
        inputs, {"one": layers.Dense(2)(y), "two": [y, layers.Dense(1)(y)]}
    ), ROW


def lstm():
    return chain((6, 4), layers.LSTM(3, dropout=0.3), layers.Dense(2)), X


def lstm_with_states():
    return functional(
        (6, 4), layers.LSTM(3, return_sequences=True, return_state=True)
    ), X


def gru_unrolled():
    return chain((6, 4), layers.GRU(3, unroll=True)), X


def simple_rnn_backwards():
    return chain(
        (6, 4), layers.SimpleRNN(3, go_backwards=True, return_sequences=True)
    ), X


def stacked_cells():
    cells = [layers.LSTMCell(3), layers.GRUCell(2)]
    return chain((6, 4), layers.RNN(cells, return_sequences=True)), X


def masked():
    return chain(
        (4,),
        layers.Embedding(9, 5, mask_zero=True),
        layers.LSTM(3, return_sequences=True),
    ), TOKENS


def stateful():
    inputs = keras.Input(batch_shape=(3, 6, 4))
    return keras.Model(inputs, layers.LSTM(3, stateful=True)(inputs)), X


def bidirectional():
    return chain((6, 4), layers.Bidirectional(layers.GRU(3, return_sequences=True))), X


def time_distributed():
    inner = chain((4,), layers.Dense(3, activation="relu"), layers.Dense(2))
    return chain((6, 4), layers.TimeDistributed(inner)), X


def convolutional_lstm():
    frames = np.stack([IMAGES, IMAGES + 1], axis=1)
    return chain((2, 8, 8, 3), layers.ConvLSTM2D(2, 3)), frames


def multi_head_attention():
    def call(x):
        y = layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)
        return layers.LayerNormalization()(x + y)

    return functional((6, 4), call), X


def attention_with_dropout():
    return functional(
        (6, 4), lambda x: layers.MultiHeadAttention(2, 3, dropout=0.3)(x, x)
    ), X


def grouped_query_attention():
    return functional((6, 4), lambda x: layers.GroupQueryAttention(3, 4, 2)(x, x)), X


def plain_attention():
    return functional((6, 4), lambda x: layers.Attention()([x, x])), X


def additive_attention():
    return functional((6, 4), lambda x: layers.AdditiveAttention()([x, x])), X


class Subclassed(keras.Model):
    """No graph, a Python loop, None and a number in what it returns."""

    def __init__(self):
        super().__init__()
        self.first = layers.Dense(4, activation="relu", name="first")
        self.blocks = [layers.Dense(4, name=f"block_{i}") for i in range(2)]
        self.dropout = layers.Dropout(0.5)

    def call(self, inputs, training=None):
        x = self.first(inputs)
        for block in self.blocks:
            x = x + block(self.first(x))
        return {"y": self.dropout(x, training=training), "nothing": None, "n": 3}


def subclassed():
    return Subclassed(), ROW


class Structured(layers.Layer):
    """Takes and returns structures."""

    def call(self, x):
        return {"sum": x["a"] + x["b"], "rest": [x["a"], x["b"] > 0]}


def structures():
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    y = Structured()(inputs)
    return keras.Model(inputs, layers.Dense(2)(y["sum"])), {"a": ROW, "b": ROW}


class Decorated(keras.Model):
    """Its call is a tf.function with a branch on a value."""

    def __init__(self):
        super().__init__()
        self.inside = layers.Dense(4, name="inside")

    @tf.function
    def call(self, x):
        y = self.inside(x)
        if tf.reduce_sum(y) > -1e9:
            y += 1.0
        return self.inside(y)


def decorated():
    return Decorated(), ROW


class Counting(layers.Layer):
    """Changes a variable of Keras and one of TensorFlow at each call."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.raw = tf.Variable(0.0)

    def call(self, x):
        self.calls.assign_add(1.0)
        self.raw.assign_add(1.0)
        return x * 2.0 + self.raw


def counting():
    return chain((4,), Counting(), layers.Dense(2)), ROW


class Looping(layers.Layer):
    """Calls a layer inside a loop of the graph."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4, name="looped")

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return tf.while_loop(
            lambda i, _: i < 2, lambda i, x: (i + 1, self.dense(x)), (0, x)
        )[1]


def looping():
    return chain((4,), Looping(), layers.Dense(2)), ROW


def embedding():
    return chain((4,), layers.Embedding(9, 5), layers.GlobalMaxPooling1D()), TOKENS


def text():
    vectorizer = layers.TextVectorization(
        vocabulary=["a", "b"], output_sequence_length=3
    )
    return chain((), vectorizer, layers.Embedding(9, 2)), np.array(["a b", "b c"])


def strings():
    model = keras.Sequential(
        [keras.Input((), dtype="string"), layers.StringLookup(vocabulary=["a", "b"])]
    )
    return model, np.array(["a", "z"])


def mixed_precision():
    policy = "mixed_float16"
    return chain(
        (4,), layers.Dense(3, activation="relu", dtype=policy), layers.Dense(2)
    ), ROW


def bfloat16():
    return chain((4,), layers.Dense(3, dtype="bfloat16")), ROW


def random_layers():
    return chain(
        (8, 8, 3),
        layers.GaussianNoise(0.5),
        layers.RandomFlip(seed=1),
        layers.Conv2D(2, 3),
    ), IMAGES


def normalizations():
    return chain(
        (8, 8, 3),
        layers.GroupNormalization(3),
        layers.UnitNormalization(),
        layers.Rescaling(2.0),
        layers.PReLU(),
    ), IMAGES


def frozen():
    model, x = convolutional()
    model.trainable = False
    return model, x


KINDS = [
    sequential,
    sequential_not_called,
    convolutional,
    separable,
    residual,
    functional_operations,
    nested,
    nested_twice,
    shared,
    list_inputs,
    dict_inputs,
    several_outputs,
    lstm,
    lstm_with_states,
    gru_unrolled,
    simple_rnn_backwards,
    stacked_cells,
    masked,
    stateful,
    bidirectional,
    time_distributed,
    convolutional_lstm,
    multi_head_attention,
    attention_with_dropout,
    grouped_query_attention,
    plain_attention,
    additive_attention,
    subclassed,
    structures,
    decorated,
    counting,
    looping,
    embedding,
    strings,
    mixed_precision,
    bfloat16,
    random_layers,
    normalizations,
    frozen,
]

# One of each difficulty, for what would take long with all.
VARIED = [
    sequential_not_called,
    dict_inputs,
    lstm_with_states,
    masked,
    stateful,
    time_distributed,
    multi_head_attention,
    subclassed,
    decorated,
    counting,
    looping,
    strings,
    mixed_precision,
]


def built(kind, *, seed=5):
    """Makes a model of a kind, built, from a seed; returns it and its input."""
    keras.utils.set_random_seed(seed)
    model, x = kind()
    model(x)
    return model, x


def tensorflow_variables(model):
    """The raw `tf.Variable`s of the layers."""
    values = [v for layer in model._flatten_layers() for v in vars(layer).values()]
    return [value for value in values if isinstance(value, tf.Variable)]


def rnn_states(model):
    """The states of recurrent layers, which `model.variables` does not list."""
    states = [getattr(layer, "states", None) for layer in model._flatten_layers()]
    return [leaf for leaf in keras.tree.flatten(states) if leaf is not None]


def state_of(model):
    """Everything that a call may change, as bytes."""
    variables = [
        *model.variables,
        *tensorflow_variables(model),
        *rnn_states(model),
    ]
    return [ops.convert_to_numpy(variable).tobytes() for variable in variables]
