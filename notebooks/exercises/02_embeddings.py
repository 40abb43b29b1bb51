# %% setup
from workbench.logs import quiet

with quiet():
    import keras
    import tensorflow as tf

import numpy as np

from workbench import data
from workbench.embeddings import load_vectors
from workbench.experiments import Variant, compare

# %% setup
NUM_WORDS, LENGTH = 3000, 50
(x, y), (x_test, y_test) = data.load_reviews()
glove = load_vectors(data.GLOVE_REVIEWS)


def cut(text):
    text = tf.strings.lower(text)
    text = tf.strings.regex_replace(text, r"n't\b", " n't")
    text = tf.strings.regex_replace(text, r"'(s|re|ve|ll|d|m)\b", r" '\1")
    return tf.strings.regex_replace(text, r"([^a-z0-9' ])", r" \1 ")


vectorize = keras.layers.TextVectorization(
    NUM_WORDS, standardize=cut, output_sequence_length=LENGTH
)
vectorize.adapt(x.tolist())
vocabulary = vectorize.get_vocabulary()
numbers, test_numbers = (vectorize(list(part)).numpy() for part in (x, x_test))


# %% setup
def build(vectors):
    table = keras.layers.Embedding(NUM_WORDS, 50)
    if vectors is not None:
        table, _ = vectors.to_layer(vocabulary, trainable=True, oov="zeros")
    words = [table, keras.layers.Conv1D(32, 3, activation="relu")]
    decide = [keras.layers.GlobalMaxPool1D(), keras.layers.Dropout(0.5)]
    last = keras.layers.Dense(1, "sigmoid")
    net = keras.Sequential([keras.Input((LENGTH,)), *words, *decide, last])
    net.compile(keras.optimizers.Adam(0.005), "binary_crossentropy")
    return net


def accuracy(vectors, count, epochs, seeds=(0, 1)):
    variants = {str(seed): Variant(seed=seed) for seed in seeds}
    how = {"epochs": epochs, "batch_size": 50}
    few = numbers[:count], y[:count]
    comparison = compare(lambda: build(vectors), few, variants, **how)
    net, found = build(vectors), []
    for name in variants:
        net.set_weights(comparison.weights(name))
        right = net.predict(test_numbers, batch_size=500, verbose=0)[:, 0] > 0.5
        found.append(np.mean(right == y_test))
    return np.mean(found)


# %% 1. Predict: a hundred sentences, and all [markdown]
# Give the classifier of section 3 a hundred sentences (and 40 epochs), and then all 7,171 (and 2). Where is GloVe, trained, further ahead of random vectors, trained? And how many percent of the 3,000 words of the vocabulary stand in the first hundred sentences at all?

# %% hint [markdown]
# A sentence has about twenty words, and many of them are the same few.

# %% hint [markdown]
# The row of a word that was never seen is still what it began as. With which vectors is that worth something? (`np.unique(numbers[:100])` are the words of the hundred sentences.)

# %% start
larger_gap_at = ...  # 100 or 7171
seen_in_100 = ...  # percent, within 5

# %% answer
larger_gap_at = 100  # 100 or 7171
seen_in_100 = 100 * len(np.unique(numbers[:100])) / NUM_WORDS  # percent, within 5

# %% why [markdown]
# With a hundred sentences. A word that was seen once or twice has learned nothing, and GloVe's row for it is all there is. With seven thousand sentences most words that matter have been seen often enough to learn rows for this very task, and the gap nearly closes.

# %% shown
gap = {}
for count, epochs in ((100, 40), (len(x), 2)):
    gap[count] = accuracy(glove, count, epochs) - accuracy(None, count, epochs)
    print(count, "sentences: ahead by two points or more:", bool(gap[count] > 0.02))

# %% shown
# Check: far ahead with few sentences, next to nothing with many
assert gap[100] > 0.02
assert abs(gap[len(x)]) < gap[100] / 2

# %% wrong says="more of the words are seen"
larger_gap_at, seen_in_100 = 7171, 25

# %% wrong says="fewer than 60"
larger_gap_at, seen_in_100 = 100, 60

# %% wrong says="more than 2"
larger_gap_at, seen_in_100 = 100, 2

# %% wrong says="100 or 7171"
larger_gap_at, seen_in_100 = 1000, 25

# %% wrong says="fewer than 95"
larger_gap_at, seen_in_100 = 100, 95

# %% wrong says="must be one number"
larger_gap_at, seen_in_100 = 100, "few"

# %% 2. Change: the 10,000 most frequent words [markdown]
# Take `data.GLOVE`, the 10,000 most frequent words, in place of `data.GLOVE_REVIEWS`. What does the coverage say? Name three words that are missing now and that matter here: each should stand in at least twice as many sentences of praise as of blame, or the other way round.

# %% hint [markdown]
# `my_vectors.to_layer(vectorize)` gives a layer and the coverage, and the coverage has a `missing`.

# %% hint [markdown]
# Frequent, that is, in the news and in Wikipedia. Which words are used of films, and seldom of anything else?

# %% start
my_vectors = load_vectors(data.GLOVE_REVIEWS)
matter = ["…", "…", "…"]  # three missing words that tell praise from blame

# %% answer
my_vectors = load_vectors(data.GLOVE)
matter = ["entertaining", "dull", "fascinating"]  # missing words that tell

# %% why [markdown]
# Frequent in the news and in Wikipedia, that is. Words such as *entertaining*, *dull* and *fascinating*, which decide here, are not among them, so their vectors begin at zero and must be learned as before, and GloVe's advantage is smaller or gone. The coverage says so before anything is trained; how much the missing words matter, it cannot say.

# %% shown
frequent = load_vectors(data.GLOVE)
for vectors in (glove, frequent):
    _, coverage = vectors.to_layer(vectorize)
    print(f"{coverage.share:.0%} found; missing:", coverage.missing[:6])
own, top, none = (accuracy(v, 1000, 8) for v in (glove, frequent, None))
print("the words of the task are better:", bool(top < own))

# %% shown
# Check: the words that decide are missing, and so is a part of the advantage
assert {"entertaining", "dull", "fascinating"} <= set(coverage.missing)
assert max(top, none) < own

# %% wrong says="10,000"
my_vectors = load_vectors(data.GLOVE_REVIEWS)
matter = ["entertaining", "dull", "fascinating"]

# %% wrong says="good is not missing"
my_vectors = load_vectors(data.GLOVE)
matter = ["dull", "good", "fascinating"]

# %% wrong says="three words"
my_vectors = load_vectors(data.GLOVE)
matter = ["dull", "fascinating"]

# %% wrong says="three words"
my_vectors = load_vectors(data.GLOVE)
matter = "dull"

# %% wrong says="hardly tells them apart"
my_vectors = load_vectors(data.GLOVE)
matter = ["dull", "cinematic", "fascinating"]

# %% wrong says="workbench is not in the vocabulary"
my_vectors = load_vectors(data.GLOVE)
matter = ["dull", "workbench", "fascinating"]

# %% 3. Explain: 2 GB and 16 GB [markdown]
# A colleague loads 6 GB of vectors with `tf.constant`, saves the model, and gets an error about 2 GB; with `weights=` the machine runs out of memory at 16 GB. Which statements hold?
#
# - **a** A constant stands in the description of the graph, which cannot be larger than 2 GB.
# - **b** On a machine with more memory the constant could be saved.
# - **c** `weights=` holds several copies of the matrix before the layer has its rows.
# - **d** As `float64` the matrix would take half the memory.
#
# And which are ways out? **p** `load_vectors(file).to_layer()`, **q** a `Constant` initializer, **r** only the rows of the vocabulary, `to_layer(vocabulary)`, **s** writing the matrix in at every minibatch.

# %% hint [markdown]
# Section 2 measured each of these ways. How many copies did they take at most?

# %% hint [markdown]
# 6 GB and 16 GB: how many copies fit?

# %% start
statements = ...  # letters out of "abcd"
ways_out = ...  # letters out of "pqrs"

# %% answer
statements = "ac"  # letters out of "abcd"
ways_out = "pr"  # letters out of "pqrs"

# %% why [markdown]
# A constant stands in the description of the graph, a protocol buffer, which cannot be larger than 2 GB: 6 GB of numbers do not fit, whatever the machine. `weights=` makes no constant, but before it has assigned them there are several copies, of 6 GB each. Ways out: `load_vectors(file).to_layer()`, which maps the file and copies nothing; or, better for most, only the rows of your vocabulary, `to_layer(vocabulary)`. (If there is a checkpoint with the table, restoring it takes one copy.)

# %% shown
with tf.Graph().as_default() as graph:
    tf.constant(np.zeros((50_000, 200), "float32"), name="table")
    inside = graph.as_graph_def().ByteSize()
with tf.Graph().as_default() as graph:
    tf.Variable(tf.zeros((50_000, 200)), name="table")
    beside = graph.as_graph_def().ByteSize()
print("megabytes in the graph:", round(inside / 1e6), "and", round(beside / 1e6))

# %% shown
# Check: the constant's 40 MB are in the graph, the variable's are not
assert inside > 40e6
assert beside < 1e5

# %% wrong says="b) does not hold"
statements, ways_out = "abc", "pr"

# %% wrong says="d) does not hold"
statements, ways_out = "acd", "pr"

# %% wrong says="q) does not hold"
statements, ways_out = "ac", "pqr"

# %% wrong says="s) does not hold"
statements, ways_out = "ac", "ps"

# %% wrong says="not all that does"
statements, ways_out = "ac", "p"

# %% wrong says="must be letters"
statements, ways_out = 2, 16

# %% 4. Diagnose: the vector of another word [markdown]
# Here GloVe's matrix goes into a layer by hand. Nothing fails, the net trains, and it is hardly better than with random vectors. Run the cell: *funny* does not get the vector of *funny*. Whose does it get, and why?
#
# - **a** The file has no vector for *funny*.
# - **b** The rows stand in the order of the file, and the numbers are those of the vocabulary.
# - **c** Keras has scaled the vectors.
# - **d** `weights=` is not used by this layer.
#
# Then mend the line of `mended`, so that every word that GloVe knows gets its own row.

# %% hint [markdown]
# `vocabulary.index("funny")` is the number that *funny* has in the text. Which word stands at this place of `glove.words`?

# %% hint [markdown]
# Section 1 has the one line that puts the rows in order.

# %% start
cause, whose = ..., ...  # a letter in quotes, and a word in quotes
mended = keras.layers.Embedding(len(glove.words), 50, weights=[glove.matrix])

vector = mended(vectorize(["funny"]))[0, 0].numpy()
print("the vector of funny:", np.array_equal(vector, glove["funny"]))

# %% answer
cause, whose = "b", glove.words[vocabulary.index("funny")]  # a letter, and a word
mended, _ = glove.to_layer(vectorize)

vector = mended(vectorize(["funny"]))[0, 0].numpy()
print("the vector of funny:", np.array_equal(vector, glove["funny"]))

# %% why [markdown]
# Row 5 of GloVe is not word 5 of your vocabulary. A matrix in the order of its file gives every word the vector of some other word; the shapes fit, nothing fails, and what was to help is noise. `to_layer(vectorize)` puts the rows in the order of the vocabulary and reports what it did not find.

# %% wrong says="c) does not hold"
cause, whose = "c", glove.words[vocabulary.index("funny")]
mended, _ = glove.to_layer(vectorize)

# %% wrong says="not the vector of dull"
cause, whose = "b", "dull"
mended, _ = glove.to_layer(vectorize)

# %% wrong says="have the vector of another word"
cause, whose = "b", glove.words[vocabulary.index("funny")]
mended = keras.layers.Embedding(len(glove.words), 50, weights=[glove.matrix])

# %% wrong says="have the vector of another word"
cause, whose = "b", glove.words[vocabulary.index("funny")]
mended = glove.to_layer()[0]

# %% wrong says="have the vector of another word"
cause, whose = "b", glove.words[vocabulary.index("funny")]
mended = glove.to_layer(sorted(vocabulary[2:]))[0]

# %% wrong says="have the vector of another word"
cause, whose = "b", glove.words[vocabulary.index("funny")]
mended = keras.layers.Embedding(NUM_WORDS, 50)

# %% wrong says="must be a layer"
cause, whose = "b", glove.words[vocabulary.index("funny")]
mended = glove.to_layer(vectorize)

# %% wrong says="no word of GloVe"
cause, whose = "b", "workbenches"
mended, _ = glove.to_layer(vectorize)
