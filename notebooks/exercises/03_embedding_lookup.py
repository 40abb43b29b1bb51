# %% setup
from workbench.logs import quiet

with quiet():
    import keras
    import tensorflow as tf

import numpy as np

from workbench.embeddings import lookup

# %% setup
SEED = 3
words = ["i", "you", "we", "like", "love", "miss", "the", "a", "country", "city", "sea"]
table = np.random.default_rng(SEED).normal(size=(11, 4)).round(1).astype("float32")

# %% 1. Predict: read by the other rule [markdown]
# A table of nine rows, with the values 0 to 8, is cut into four shards by `mod`. Somebody reads these shards by `div`. Which values do the ids 0 to 8 give? And does `lookup` notice, and raise an error?

# %% hint [markdown]
# Write down the four shards that `mod` makes. Shard 0 has rows 0, 4 and 8.

# %% hint [markdown]
# Nine rows in four shards are 3, 2, 2 and 2 under either rule. So `div` takes the ids 0, 1 and 2 from the first shard.

# %% start
values = ...  # nine numbers, for the ids 0 to 8
is_noticed = ...  # True or False

# %% answer
values = [0, 4, 8, 1, 5, 2, 6, 3, 7]  # nine numbers, for the ids 0 to 8
is_noticed = False  # True or False

# %% why [markdown]
# `mod` deals the rows out, so that the first shard has 0, 4 and 8. `div` expects it to have the first three, so id 1 gives 4. The values come in the order of the shards, one after the other. `lookup` cannot notice: 3, 2, 2, 2 rows are right under both rules.

# %% shown
shards = [np.arange(9)[i::4] for i in range(4)]
right = lookup(shards, np.arange(9)).numpy()
wrong = lookup(shards, np.arange(9), strategy="div").numpy()
print("mod", right, "div", wrong)

# %% shown
# Check: the shards one after the other; two ids are right by luck
assert right.tolist() == list(range(9))
assert wrong.tolist() == np.concatenate(shards).tolist()
assert np.flatnonzero(right == wrong).tolist() == [0, 6]

# %% wrong says="id 1"
values, is_noticed = list(range(9)), False

# %% wrong says="id 1"
values, is_noticed = [0, 3, 6, 1, 4, 7, 2, 5, 8], False

# %% wrong says="id 3"
values, is_noticed = [0, 4, 8, 2, 6, 1, 5, 3, 7], False

# %% wrong says="nine"
values, is_noticed = [0, 4, 8], False

# %% wrong says="`is_noticed` is not so"
values, is_noticed = [0, 4, 8, 1, 5, 2, 6, 3, 7], True

# %% wrong says="True or False"
values, is_noticed = [0, 4, 8, 1, 5, 2, 6, 3, 7], "no"

# %% 2. Change: a penalty on the table [markdown]
# Section 4 showed a sparse gradient that moves the rows of *the sea the city* only: three of eleven. Make `my_table`, an `Embedding` of eleven rows of four numbers as in section 1, with an L2 penalty on its rows. With the penalty in the loss: is the gradient of the table still `"sparse"`, or `"dense"`, and how many rows does a step of `SGD` move?

# %% hint [markdown]
# `keras.layers.Embedding` has an argument for a penalty on its rows; `"l2"` is a value for it. The layer's `losses` is empty without.

# %% hint [markdown]
# Which rows does the sum of the squares of *all* rows depend on? And what is a gradient that has every row?

# %% start
my_table = keras.layers.Embedding(11, 4)
gradient_kind = ...  # "sparse" or "dense"
rows_moved = ...  # of eleven

# %% answer
my_table = keras.layers.Embedding(11, 4, embeddings_regularizer="l2")
gradient_kind = "dense"  # "sparse" or "dense"
rows_moved = 11  # of eleven

# %% why [markdown]
# The penalty depends on *every* row, so its gradient has every row, and a sparse gradient plus a dense one is dense. SGD then moves all rows: those of this batch by both parts, the others toward zero. At each step the whole table is worked through, as with Adam.

# %% shown
keras.utils.set_random_seed(SEED)
layer = keras.layers.Embedding(11, 4, embeddings_regularizer="l2")
layer.build()
ids = [words.index(word) for word in ("the", "sea", "the", "city")]
optimizer = keras.optimizers.SGD(0.1)
optimizer.build([layer.embeddings])
kinds = {}
for name in ("without", "with"):
    before = layer.get_weights()[0]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(lookup(layer.embeddings, ids))
        if name == "with":
            loss += sum(layer.losses)
    gradient = tape.gradient(loss, layer.embeddings.value)
    optimizer.apply([gradient])
    moved = (layer.get_weights()[0] != before).any(axis=1).sum()
    kinds[name] = isinstance(gradient, tf.IndexedSlices), int(moved)
    print(f"{name:8} the penalty: sparse {kinds[name][0]}, rows moved {moved}")

# %% shown
# Check: sparse and three rows, dense and all eleven
assert kinds == {"without": (True, 3), "with": (False, 11)}

# %% wrong says="has no penalty"
my_table = keras.layers.Embedding(11, 4)
gradient_kind, rows_moved = "dense", 11

# %% wrong says="has no penalty"
my_table = keras.layers.Embedding(11, 4, activity_regularizer="l2")
gradient_kind, rows_moved = "dense", 11

# %% wrong says="is not sparse"
my_table = keras.layers.Embedding(11, 4, embeddings_regularizer="l2")
gradient_kind, rows_moved = "sparse", 3

# %% wrong says="rather than 3"
my_table = keras.layers.Embedding(11, 4, embeddings_regularizer="l2")
gradient_kind, rows_moved = "dense", 3

# %% wrong says="rather than 8"
my_table = keras.layers.Embedding(11, 4, embeddings_regularizer="l2")
gradient_kind, rows_moved = "dense", 8

# %% wrong says="eleven rows of four numbers"
my_table = keras.layers.Embedding(4, 11, embeddings_regularizer="l2")
gradient_kind, rows_moved = "dense", 11

# %% wrong says="must be an Embedding layer"
my_table = keras.regularizers.L2()
gradient_kind, rows_moved = "dense", 11

# %% 3. Explain: as if these words were not there [markdown]
# A colleague trains with ids from `StringLookup(vocabulary=words)` and an `Embedding(12, 4, mask_zero=True)`, and is pleased: sentences with unknown words are classified as if those words were not there. Which statements hold?
#
# - **a** "I miss the sea" and "I miss the *mountainous* sea" look the same to the model.
# - **b** A sentence in another language, full of unknown words, is masked as a whole.
# - **c** Unknown words are learned as one word of their own.
# - **d** Padding and unknown words can be told apart by their ids.
#
# Then make `my_lookup`, a `StringLookup` of the same words that keeps 0 for padding, so that `mask_zero=True` does what it says.

# %% hint [markdown]
# The table in section 3 has three `StringLookup`s. Which ids do *mountains* and the empty string get in each?

# %% hint [markdown]
# `mask_token=""` says which string is padding.

# %% start
statements = ...  # letters out of "abcd"
my_lookup = keras.layers.StringLookup(vocabulary=words)

# %% answer
statements = "ab"  # letters out of "abcd"
my_lookup = keras.layers.StringLookup(vocabulary=words, mask_token="")

# %% why [markdown]
# As it comes, `StringLookup` gives unknown words 0, and `mask_zero=True` takes each 0 for padding. So the model cannot tell "I miss the sea" from "I miss the … sea", and not that a sentence is full of names or of another language; a sentence of unknown words only is masked as a whole, and a mean over nothing is 0 divided by 0, or a recurrent layer's initial state. Two ways out: `mask_token=""`, which keeps 0 for padding and gives unknown words 1; or no `mask_zero`. `WordVectors.to_layer` refuses the combination.

# %% shown
sentence = ["glaciers", "mountains"]
for name, token in (("as it comes", None), ("with padding", "")):
    numbers = keras.layers.StringLookup(vocabulary=words, mask_token=token)(sentence)
    mask = keras.layers.Embedding(13, 4, mask_zero=True).compute_mask(numbers)
    print(f"{name:12} {numbers.numpy()} {mask.numpy()}")

# %% shown
# Check: the last one was told apart, and is seen
assert numbers.numpy().tolist() == [1, 1]
assert mask.numpy().all()

# %% wrong says="still masked"
statements, my_lookup = "ab", keras.layers.StringLookup(vocabulary=words)

# %% wrong says="padding is not masked"
statements = "ab"
my_lookup = keras.layers.StringLookup(vocabulary=words, num_oov_indices=3)

# %% wrong says="c) does not hold"
statements = "abc"
my_lookup = keras.layers.StringLookup(vocabulary=words, mask_token="")

# %% wrong says="d) does not hold"
statements = "abd"
my_lookup = keras.layers.StringLookup(vocabulary=words, mask_token="")

# %% wrong says="not all that does"
statements = "a"
my_lookup = keras.layers.StringLookup(vocabulary=words, mask_token="")

# %% wrong says="of these eleven words"
statements = "ab"
my_lookup = keras.layers.StringLookup(vocabulary=words[:3], mask_token="")

# %% wrong says="still masked"
statements = "ab"
my_lookup = keras.layers.StringLookup(vocabulary=["", *words])

# %% 4. Diagnose: where are the mountains? [markdown]
# This cell looks up a sentence in the table of section 1, which has no row for *mountains*. Nothing fails. Run it: whose vector do the mountains get, and why?
#
# - **a** The layer makes a new row for an unknown word.
# - **b** `lookup` and `Embedding` give zeros for a word that has no row.
# - **c** The word gets -1, and Keras counts negative ids from the end.
# - **d** `words.index` gives the nearest word.
#
# Then mend `encode`: known words keep their numbers 0 to 10, and every unknown word gets 11, the row of its own that a table of twelve rows has.

# %% hint [markdown]
# Print the ids. Then compare the row with each row of `table`.

# %% hint [markdown]
# Which number is in the line of `encode` for words that are not in the list, and what does section 3 say about it?

# %% start
cause = ...  # a letter in quotes
whose = ...  # a word in quotes


def encode(sentence):
    return [words.index(word) if word in words else -1 for word in sentence]


reader = keras.layers.Embedding(11, 4)
reader.build()
reader.set_weights([table])
row = reader(np.array(encode(["mountains"])))[0]
print("the mountains are", [f"{number:.1f}" for number in row])

# %% answer
cause = "c"  # a letter in quotes
whose = "sea"  # a word in quotes


def encode(sentence):
    return [words.index(word) if word in words else 11 for word in sentence]


# %% why [markdown]
# -1 is no id; Keras's layer takes it as Python does and gives the last row, here that of *sea*. In training, every unknown word would then train the row of *sea*, in silence. `tf.gather` and `lookup` refuse -1. A row of its own for unknown words costs four numbers.

# %% shown
# Check: the layer's answer to -1 is the last row, and `lookup` refuses it
reader = keras.layers.Embedding(11, 4)
reader.build()
reader.set_weights([table])
assert np.array_equal(reader(np.array([-1]))[0], table[words.index("sea")])
try:
    lookup(table, [-1])
except ValueError as error:
    print(type(error).__name__)

# %% wrong says="b) does not hold"
cause, whose = "b", "sea"


def encode(sentence):
    return [words.index(word) if word in words else 11 for word in sentence]


# %% wrong says="the vector of i"
cause, whose = "c", "i"


def encode(sentence):
    return [words.index(word) if word in words else 11 for word in sentence]


# %% wrong says="is no word of the table"
cause, whose = "c", "mountains"


def encode(sentence):
    return [words.index(word) if word in words else 11 for word in sentence]


# %% wrong says="-1"
cause, whose = "c", "sea"


def encode(sentence):
    return [words.index(word) if word in words else -1 for word in sentence]


# %% wrong says="as many numbers as words"
cause, whose = "c", "sea"


def encode(sentence):
    return [words.index(word) for word in sentence if word in words]


# %% wrong says="known words"
cause, whose = "c", "sea"


def encode(sentence):
    return [words.index(word) + 1 if word in words else 11 for word in sentence]


# %% wrong says="is not in list"
cause, whose = "c", "sea"


def encode(sentence):
    return [words.index(word) for word in sentence]


# %% wrong says="the row of a known word"
cause, whose = "c", "sea"


def encode(sentence):
    return [words.index(word) if word in words else 0 for word in sentence]
