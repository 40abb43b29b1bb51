"""Vector files of every kind: the right matrix, or an error that says where and why."""

import gzip
import struct
import zipfile

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from tests import vector_files
from workbench import data
from workbench.embeddings import load_vectors, search

GLOVE = data._DATA / "glove.6B.50d.top10k.txt.gz"
WORDS = ["the", "König", "n/a", '"', "nan"]
MATRIX = np.array(
    [[0.25, -1.5, 3], [1, 2, 3], [-0.125, 0, 1e-3], [7, 8, 9], [0.1, 0.2, 0.3]],
    "float32",
)


@pytest.fixture(scope="module")
def glove(tmp_path_factory):
    return load_vectors(GLOVE, cache=tmp_path_factory.mktemp("cache"))


def write(path, content):
    path.write_bytes(content)
    return path


def load(path, **arguments):
    return load_vectors(path, cache=False, **arguments)


# Every format


def test_glove_is_bit_equal_to_numpy(glove):
    lines = gzip.decompress(GLOVE.read_bytes()).decode().split("\n")[:-1]
    rows = [line.split(" ") for line in lines]
    np.testing.assert_array_equal(
        glove.matrix, np.array([row[1:] for row in rows], "float64").astype("float32")
    )
    assert list(glove.words) == [row[0] for row in rows]
    assert not glove.matrix.flags.writeable


@pytest.mark.parametrize("kind", vector_files.KINDS)
def test_every_kind_of_file_is_recognised_by_content(tmp_path, kind):
    path = tmp_path / "vectors"
    arguments = vector_files.write(kind, path, WORDS, MATRIX)
    vectors = load(path, **arguments)
    assert list(vectors.words) == WORDS
    np.testing.assert_array_equal(vectors.matrix, MATRIX)
    assert vectors.matrix.dtype == np.float32
    assert [vectors.index(word) for word in WORDS] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["glove", "word2vec", "fasttext", "npy"])
@pytest.mark.parametrize("pack", ["gz", "zip"])
def test_packed_files_are_read_too(tmp_path, kind, pack):
    path = tmp_path / "plain"
    arguments = vector_files.write(kind, path, WORDS, MATRIX)
    packed = tmp_path / f"vectors.{pack}"
    if pack == "gz":
        write(packed, gzip.compress(path.read_bytes()))
    else:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, "inside")
    vectors = load(packed, **arguments)
    assert list(vectors.words) == WORDS
    np.testing.assert_array_equal(vectors.matrix, MATRIX)


def test_a_zip_of_several_files_asks_for_a_name(tmp_path):
    path = tmp_path / "glove.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a 1 2\n")
        archive.writestr("b.txt", "b 3 4\n")
    with pytest.raises(ValueError, match=r"`name` must be one of .*a\.txt, b\.txt"):
        load(path)
    assert list(load(path, name="b.txt").words) == ["b"]


def test_fasttext_makes_vectors_of_words_it_never_saw(tmp_path):
    gensim = pytest.importorskip("gensim.models.fasttext")
    path = tmp_path / "model.bin"
    words, table = ["Haus", "größe", "</s>"], np.arange(23 * 4).reshape(23, 4) / 7
    vector_files.write_fasttext(path, words, table.astype("float32"), 20, 2, 4)
    ours, theirs = load(path), gensim.load_facebook_vectors(str(path))
    for word in ("Haus", "größe"):
        np.testing.assert_allclose(ours[word], theirs[word], rtol=1e-6)
    for word in ("Häuser", "日本語", "ab"):
        np.testing.assert_allclose(
            ours.subwords.vector(word), theirs.get_vector(word), rtol=1e-6
        )


# Traps of text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a 1 2\n. . . 4 5\nat x@y.z 6 7\nb 1 2\n", ["a", ". . .", "at x@y.z", "b"]),
        (b"a\t1 2\nb\t3 4\n", ["a", "b"]),
        (b"a\t1\t2\nb\t3\t4\n", ["a", "b"]),
        (b"\xef\xbb\xbfa 1 2\nb 3 4\n", ["a", "b"]),
        (b"a 1 2\r\nb 3 4\r\n", ["a", "b"]),
        (b"a 1 2 \nb 3 4 \n\n\n", ["a", "b"]),
        (b"\r 1 2\nb 3 4\n", ["\r", "b"]),
        (b"  1 2\nb 3 4\n", [" ", "b"]),
        ("\x85 1 2\n\xa0 3 4\n# 5 6\n".encode(), ["\x85", "\xa0", "#"]),
        (b"null 1 2\nNA 3 4\nnan 5 6\nunk 1 1\n", ["null", "NA", "nan", "unk"]),
        (b"5 1 2\n6 3 4\n", ["5", "6"]),
        (b"2 2\na 1 2\nb 3 4", ["a", "b"]),
    ],
)
def test_traps_of_text_are_read_right(tmp_path, content, words):
    vectors = load(write(tmp_path / "a.txt", content))
    assert list(vectors.words) == words
    assert vectors.matrix.shape == (len(words), 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a 1 2 3\nb 1 2", r"line 2 \(byte 8\): 2 numbers, expected 3; .*truncated"),
        (b"a 1 2\nb 1 x\nc 1 2\n", r"line 2 \(byte 6\): 'x' is no number"),
        (b"a 1 2\n\nc 1 2\n", r"line 2 \(byte 6\): an empty line"),
        (b"a 1 2\nb 1 1e39\nc 1 2\n", r"line 2 .*1e39 is too large for float32"),
        (b"a 1 2\nb\xbf 1 2\n", r"line 2 .*invalid UTF-8 bf.*encoding="),
        (b"3 2\na 1 2\nbcdefghi 3 4\n", r"header promises 3 rows, the file holds 2"),
        (b"1 2\na 1 2\nb 3 4\n", r"header promises 1 rows, the file holds 2"),
        (b"9999999999 2\na 1 2\n", r"promises 9999999999 rows .*the file has"),
        (b"2 3\na 1 2\nb 3 4\n", r"promises 3 numbers in a row, the rows have 2"),
        (b"", r"empty"),
        (b"hello\nworld\n", r"no numbers"),
        (b"\x80\x04\x95abc", r"pickle"),
        (b"PAR1....", r"Parquet"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path / "a.txt", content))


def test_a_bad_chunk_far_inside_names_its_own_line(tmp_path):
    rows = [f"w{i} {i / 7:.5f} {i / 3:.5f}" for i in range(100_000)]
    rows[70_000] = "two words 1.5 2.5"
    vectors = load(write(tmp_path / "a.txt", "\n".join(rows).encode()))
    assert vectors.words[70_000] == "two words"
    assert vectors.words[99_999] == "w99999"
    np.testing.assert_array_equal(vectors.matrix[70_000], [1.5, 2.5])
    rows[70_000] = "short 1"
    byte = sum(len(row) + 1 for row in rows[:70_000])
    with pytest.raises(ValueError, match=rf"line 70001 \(byte {byte}\): 1 number,"):
        load(write(tmp_path / "a.txt", "\n".join(rows).encode()))


def test_the_first_of_equal_words_counts(tmp_path):
    vectors = load(write(tmp_path / "a.txt", b"a 1 2\nb 3 4\na 5 6\n"))
    assert vectors.index("a") == 0
    assert vectors.duplicates.tolist() == [2]
    assert len(vectors) == 3


def test_other_encodings_on_request(tmp_path):
    path = write(tmp_path / "a.txt", "é 1 2\nb 3 4\n".encode("latin-1"))
    assert list(load(path, encoding="latin-1").words) == ["é", "b"]
    assert list(load(path, errors="replace").words) == ["\ufffd", "b"]


# Traps of bytes


def binary(words, newline=b"\n", count=None):
    body = b"".join(
        word + b" " + struct.pack("<2f", i, i + 0.5) + newline
        for i, word in enumerate(words)
    )
    return b"%d 2\n" % (len(words) if count is None else count) + body


@pytest.mark.parametrize("newline", [b"", b"\n"])
def test_word2vec_binary_with_and_without_newlines(tmp_path, newline):
    path = write(tmp_path / "a.bin", binary([b"ab", b"c", "ü".encode()], newline))
    vectors = load(path)
    assert list(vectors.words) == ["ab", "c", "ü"]
    np.testing.assert_array_equal(vectors.matrix, [[0, 0.5], [1, 1.5], [2, 2.5]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (binary([b"a", b"b"], count=9), r"promises 9 rows .*it may be truncated"),
        (
            binary([b"a", b"b", b"c"], count=2),
            r"promises 2 rows, and \d+ bytes are left",
        ),
        (binary([b"a", b"b c", b"d"]), r"record 2 at byte 15 does not end"),
        (binary([b"a", b"\xbfb"]), r"record 2 at byte 15: invalid UTF-8 bf"),
        (binary([b"abcdefgh", b"b"])[:-4], r"fewer than the 2 numbers"),
    ],
)
def test_word2vec_binary_that_does_not_fill_its_file(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path / "a.bin", content))


def test_classifiers_and_quantized_models_are_named(tmp_path):
    path = tmp_path / "a.bin"
    vector_files.write_fasttext(path, ["a"], np.ones((1, 2), "float32"), 0, 0, 0)
    content = bytearray(path.read_bytes())
    content[8 + 4 * 7] = 3
    with pytest.raises(ValueError, match="classifier"):
        load(write(tmp_path / "b.bin", bytes(content)))
    with pytest.raises(ValueError, match="ends in"):
        load(write(tmp_path / "c.bin", path.read_bytes()[:-26]))


@pytest.mark.parametrize(
    ("model", "labels", "pruned", "message"),
    [
        (3, 2, 2, "a fastText classifier"),
        (3, 2, -1, "a fastText classifier"),
        (2, 0, 2, r"a quantized fastText model \(\.ftz, pruned to 2 n-grams\)"),
        (2, 0, 0, r"a quantized fastText model \(\.ftz, pruned to 0 n-grams\)"),
        (2, 0, -1, r"a quantized fastText model \(byte 120 is not 0\)"),
    ],
)
def test_a_quantized_model_is_refused_with_what_it_is(
    tmp_path, model, labels, pruned, message
):
    path = tmp_path / "model.ftz"
    settings = {"model": model, "labels": labels, "pruned": pruned}
    vector_files.write_quantized(path, ["Haus", "Baum"], 4, **settings)
    with pytest.raises(ValueError, match=message):
        load(path)
    packed = write(tmp_path / "model.ftz.gz", gzip.compress(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        load(packed)


# Options and cache


def test_limit_words_and_float16(tmp_path):
    path = write(tmp_path / "a.txt", b"a 1 2\nb 3 4\nc 70000 6\n")
    assert list(load(path, limit=2).words) == ["a", "b"]
    assert list(load(path, words=["c", "a", "z"]).words) == ["a", "c"]
    assert load(path, limit=2, dtype="float16").matrix.dtype == np.float16
    with pytest.raises(ValueError, match=r"float16 ends at 65504: row 2 has 70000"):
        load(path, dtype="float16")
    with pytest.raises(ValueError, match="none of the words"):
        load(path, words=["z"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": 0}, "`limit` must be"),
        ({"dtype": "int8"}, "`dtype` must be"),
        ({"errors": "x"}, "`errors` must be"),
        ({"encoding": "utf-16"}, "`encoding` must be"),
        ({"words": "abc"}, "`words` must be"),
    ],
)
def test_arguments_are_checked(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "a.txt", **arguments)


def test_the_cache_follows_the_content(tmp_path):
    path, cache = tmp_path / "a.txt", tmp_path / "cache"
    load_vectors(write(path, b"a 1 2\nb 3 4\n"), cache=cache)
    entries = [p for p in cache.iterdir() if p.name != "files"]
    assert len(entries) == 1
    # The same bytes elsewhere are not parsed again, changed ones are.
    other = write(tmp_path / "other.txt", path.read_bytes())
    assert list(load_vectors(other, cache=cache).words) == ["a", "b"]
    assert len(list(cache.iterdir())) == 2
    vectors = load_vectors(write(path, b"a 1 2\nc 3 5\n"), cache=cache)
    assert list(vectors.words) == ["a", "c"]
    np.testing.assert_array_equal(vectors.matrix, [[1, 2], [3, 5]])
    # A damaged entry is read again.
    (entries[0] / "matrix.npy").write_bytes(b"")
    assert load_vectors(other, cache=cache).matrix.tolist() == [[1, 2], [3, 4]]


def test_a_file_that_is_refused_leaves_nothing(tmp_path):
    cache = tmp_path / "cache"
    with pytest.raises(ValueError, match="expected 2"):
        load_vectors(write(tmp_path / "a.txt", b"a 1 2\nb 3\nc 4 5\n"), cache=cache)
    assert [p.name for p in cache.iterdir()] == ["files"]


# Layers


def test_an_aligned_layer_has_the_rows_of_the_vocabulary(glove):
    vocabulary = ["", "[UNK]", "cat", "qwzx", "the"]
    layer, coverage = glove.to_layer(vocabulary, mask_zero=True)
    table = layer.embeddings.numpy()
    assert type(layer) is keras.layers.Embedding
    np.testing.assert_array_equal(table[[2, 4]], [glove["cat"], glove["the"]])
    np.testing.assert_array_equal(table[0], 0)
    assert coverage.found == ("cat", "the")
    assert coverage.missing == ("qwzx",)
    assert coverage.share == pytest.approx(2 / 3)
    assert not layer.trainable
    assert "66.7%" in str(coverage)
    assert repr(coverage) == "<Coverage: 2 found, 1 missing, 0 unreachable>"
    again, _ = glove.to_layer(vocabulary, mask_zero=True)
    np.testing.assert_array_equal(again.embeddings.numpy(), table)


@pytest.mark.parametrize(
    ("oov", "expected"),
    [
        ("zeros", lambda g: np.zeros(50)),
        ("mean", lambda g: g.matrix.mean(axis=0, dtype="float64")),
        (lambda word: np.full(50, len(word)), lambda g: np.full(50, 4)),
    ],
)
def test_words_without_a_vector_begin_as_asked(glove, oov, expected):
    layer, _ = glove.to_layer(["the", "qwzx"], oov=oov)
    row = layer.embeddings.numpy()[1]
    np.testing.assert_allclose(row, expected(glove), rtol=1e-5)


def test_normal_has_the_statistics_of_the_matrix(glove):
    layer, _ = glove.to_layer(["the", *(f"qwzx{i}" for i in range(4000))])
    rows = layer.embeddings.numpy()[1:]
    np.testing.assert_allclose(rows.std(axis=0), glove.matrix.std(axis=0), rtol=0.1)
    np.testing.assert_allclose(rows.mean(axis=0), glove.matrix.mean(axis=0), atol=0.1)


def test_what_text_vectorization_never_gives_is_unreachable(glove):
    vectorizer = keras.layers.TextVectorization(vocabulary=["king", "U.S.", "qwzx"])
    layer, coverage = glove.to_layer(vectorizer, mask_zero=True)
    assert len(coverage.unreachable) == 243
    assert coverage.unreachable[0] == "U.S."
    assert "king" not in coverage.unreachable
    ids = vectorizer(np.array(["the king"]))
    np.testing.assert_array_equal(layer(ids).numpy()[0, 1], glove["king"])


def test_mask_zero_never_masks_a_word(glove):
    lookup = keras.layers.StringLookup(vocabulary=["king", "queen"])
    with pytest.raises(ValueError, match=r"`mask_zero` needs padding.*\[UNK\]"):
        glove.to_layer(lookup, mask_zero=True)
    with pytest.raises(ValueError, match=r"`mask_zero` needs padding.*'the'"):
        glove.to_layer(["the"], mask_zero=True)
    lookup = keras.layers.StringLookup(vocabulary=["king"], mask_token="")
    layer, _ = glove.to_layer(lookup, mask_zero=True)
    np.testing.assert_array_equal(layer.embeddings.numpy()[2], glove["king"])


def test_the_padding_stays_zero_while_the_rest_is_trained(glove, tmp_path):
    layer, _ = glove.to_layer(["", "king", "queen"], trainable=True)
    model = keras.Sequential([layer, keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(np.array([[0, 1], [0, 2]]), np.ones((2, 1)), epochs=3, verbose=0)
    np.testing.assert_array_equal(layer.embeddings.numpy()[0], 0)
    assert (layer.embeddings.numpy()[1] != glove["king"]).all()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.layers[0].embeddings.numpy(), layer.embeddings.numpy()
    )


def test_training_the_whole_matrix_leaves_the_file_alone(tmp_path):
    path = write(tmp_path / "a.txt", b"a 1 2\nb 3 4\n")
    vectors = load_vectors(path, cache=tmp_path / "cache")
    layer, coverage = vectors.to_layer(trainable=True)
    assert list(coverage.found) == ["a", "b"]
    model = keras.Sequential([layer, keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    model.fit(np.array([[0, 1]]), np.ones((1, 1)), epochs=2, verbose=0)
    assert (layer.embeddings.numpy() != MATRIX[:2, :2]).any()
    assert vectors.matrix.tolist() == [[1, 2], [3, 4]]
    again = load_vectors(path, cache=tmp_path / "cache")
    assert again.matrix.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("vocabulary", "arguments", "message"),
    [
        (["a", "a"], {}, "each word once"),
        ([], {}, "must have words"),
        ("the", {}, "must be a list of str"),
        ([1], {}, "must be a list of str"),
        (["a"], {"oov": "x"}, "`oov` must be one of"),
        (["a"], {"oov": "subwords"}, "fastText"),
        (["qwzx"], {"oov": lambda word: [1.0]}, "`oov` must return 50"),
    ],
)
def test_bad_vocabularies_are_refused(glove, vocabulary, arguments, message):
    with pytest.raises(ValueError, match=message):
        glove.to_layer(vocabulary, **arguments)


# Neighbours


def reference(matrix, query, exclude, k):
    units = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    scores = units.astype("float64") @ (query / np.linalg.norm(query))
    scores[list(exclude)] = -np.inf
    return np.argsort(-scores)[:k], np.sort(-scores)[:k] * -1


def test_neighbors_are_those_of_a_full_sort(glove):
    for word in ("king", "paris", "the"):
        row = glove.index(word)
        rows, scores = reference(glove.matrix, glove[word], [row], 10)
        found = glove.neighbors(word)
        assert [w for w, _ in found] == [glove.words[i] for i in rows]
        np.testing.assert_allclose([s for _, s in found], scores, rtol=1e-5)
    one = [[w for w, _ in glove.neighbors(word, 4)] for word in ("king", "paris")]
    many = [[w for w, _ in n] for n in glove.neighbors(["king", "paris"], 4)]
    assert many == one


@pytest.mark.parametrize("k", [1, 7, 40])
def test_many_questions_over_many_parts_are_those_of_a_full_sort(k):
    rng = np.random.default_rng(k)
    kinds = rng.normal(size=(700, 6)).astype("float32")
    matrix = kinds[rng.integers(0, 700, 5000)]  # every row several times
    matrix[[5, 3000]] = np.nan
    matrix[7] = 0
    count = search._QUERIES + 3
    queries = search.unit(rng.normal(size=(count, 6)))
    exclude = rng.integers(0, 5000, (count, 2)).tolist()
    rows, values = search.most_similar(
        matrix, search.row_norms(matrix), queries, k, exclude
    )
    lengths = np.linalg.norm(matrix.astype("float64"), axis=1)
    with np.errstate(invalid="ignore"):
        scores = queries.astype("float64") @ (matrix / lengths[:, None]).T
    scores[:, 7] = 0
    scores = np.nan_to_num(scores, nan=-np.inf)
    for i, rows_out in enumerate(exclude):
        scores[i, rows_out] = -np.inf
    wanted = -np.sort(-scores, axis=1)[:, :k]
    np.testing.assert_allclose(values, wanted, atol=1e-6)
    picked = np.take_along_axis(scores, rows, axis=1)
    np.testing.assert_allclose(picked, wanted, atol=1e-6)
    # Of equals the earlier row first.
    falls = np.diff(values, axis=1)
    assert (falls <= 0).all()
    assert (np.diff(rows, axis=1)[falls == 0] > 0).all()
    assert all(len(set(row)) == k for row in rows.tolist())


def test_fewer_words_than_asked_for_leave_the_rest_empty():
    matrix = np.eye(4, dtype="float32")
    rows, values = search.most_similar(
        matrix, search.row_norms(matrix), matrix[:2], 4, [[0], [1, 2]]
    )
    assert rows.tolist() == [[1, 2, 3, -1], [0, 3, -1, -1]]
    assert np.isnan(values).tolist() == [[False] * 3 + [True], [False] * 2 + [True] * 2]


def test_analogies_one_and_many(glove):
    assert glove.analogy("man", "king", "woman", 1)[0][0] == "queen"
    many = glove.analogy(["man", "paris"], ["king", "france"], ["woman", "rome"], 1)
    assert [answers[0][0] for answers in many] == ["queen", "italy"]
    with pytest.raises(ValueError, match="as many words"):
        glove.analogy(["man"], ["king", "x"], ["woman"])


def test_words_that_are_not_there_are_named(glove):
    with pytest.raises(ValueError, match=r"`word` must be one of.*'king' is there"):
        glove.neighbors("King")
    with pytest.raises(ValueError, match="`k` must be"):
        glove.neighbors("king", 0)
    assert "King" not in glove
    assert "king" in glove


def test_rows_that_are_not_finite_are_nobodys_neighbors(tmp_path):
    vectors = load(write(tmp_path / "a.txt", b"a 1 2\nb nan 4\nc 2 4\nd 0 0\n"))
    assert [word for word, _ in vectors.neighbors("a", 3)] == ["c", "d"]


# Files of models


def test_pca_is_the_plane_of_the_largest_spread(glove):
    for unit in (True, False):
        matrix = np.asarray(glove.matrix, "float64")
        if unit:
            matrix = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
        centered = matrix - matrix.mean(axis=0)
        _, values, axes = np.linalg.svd(centered, full_matrices=False)
        expected = centered @ axes[:2].T
        found = glove.project(unit=unit)
        signs = np.sign((found * expected).sum(axis=0))
        scale = values[0] / np.sqrt(len(matrix))
        np.testing.assert_allclose(found * signs, expected, atol=1e-3 * scale)
        np.testing.assert_array_equal(found, glove.project(unit=unit))


def test_tsne_is_repeatable_and_keeps_neighbors_together(glove):
    words = glove.words[:150]
    settings = {"perplexity": 10, "max_iter": 400}
    found = glove.project("tsne", words=words, **settings)
    assert found.shape == (150, 2)
    np.testing.assert_array_equal(found, glove.project("tsne", words=words, **settings))
    unit = glove.matrix[:150] / np.linalg.norm(glove.matrix[:150], axis=1)[:, None]
    similar = unit @ unit.T
    far = np.linalg.norm(found[:, None] - found[None], axis=2)
    np.fill_diagonal(similar, -1)
    nearest = similar.argmax(axis=1)
    # Of 149 others, the most similar word lies among the first few on the plane.
    places = (far < far[np.arange(150), nearest][:, None]).sum(axis=1) - 1
    assert np.median(places) < 10


def test_what_cannot_be_projected_is_refused(glove):
    with pytest.raises(ValueError, match="`method` must be one of"):
        glove.project("umap")
    with pytest.raises(ValueError, match="`words` must be at least 3 words"):
        glove.project(words=["king", "queen"])
    with pytest.raises(ValueError, match="`words` must be one of the 10,000 words"):
        glove.project(words=["king", "queen", "Frau"])
    many = [*glove.words, *glove.words, "the"]
    with pytest.raises(ValueError, match="at most 20,000 words for t-SNE"):
        glove.project("tsne", words=many)


def test_similarities_are_cosines(glove):
    unit = glove.matrix / np.linalg.norm(glove.matrix, axis=1, keepdims=True)
    expected = unit @ unit[glove.index("king")]
    np.testing.assert_allclose(glove.similarities("king"), expected, atol=1e-6)


def test_tables_of_a_checkpoint_and_of_keras(tmp_path):
    tf.train.Checkpoint(table=tf.Variable(MATRIX)).write(str(tmp_path / "ckpt"))
    vectors = load(tmp_path / "ckpt", rows=WORDS)
    np.testing.assert_array_equal(vectors.matrix, MATRIX)
    with pytest.raises(ValueError, match=r"`rows` must name the word"):
        load(tmp_path / "ckpt")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = MATRIX
        file["y"] = MATRIX + 1
    with pytest.raises(ValueError, match=r"`name` must be one of the 2 arrays.*x, y"):
        load(tmp_path / "a.h5", rows=WORDS)
    again = load(tmp_path / "a.h5", rows=WORDS, name="y", limit=2)
    np.testing.assert_array_equal(again.matrix, MATRIX[:2] + 1)


def test_safetensors_of_other_precision(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file({"t": MATRIX.astype("float64")}, path)
    np.testing.assert_array_equal(load(path, rows=WORDS).matrix, MATRIX)
