"""The one call: any file of vectors, recognised by its content."""

import codecs
import pathlib

import numpy as np

from workbench.embeddings import arrays, fasttext, models, text, word2vec
from workbench.embeddings.cache import Cache, Hasher, default_folder
from workbench.embeddings.sinks import HEADER, Mapped, Sink, TemporaryFile
from workbench.embeddings.sources import open_source
from workbench.embeddings.subwords import Subwords
from workbench.embeddings.vectors import WordVectors
from workbench.embeddings.words import Words
from workbench.steps.progress import Progress

_BLOCK = 1 << 13
_FOREIGN = (
    (b"BZh", "a .bz2; unpack it first"),
    (b"\xfd7zXZ", "an .xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a .zst; unpack it first"),
    (b"PAR1", "a Parquet table; save its numbers as .npy"),
    (b"7z\xbc\xaf", "a .7z; unpack it first"),
    (b"\xff\xfe", "UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16; save it as UTF-8"),
)


def load_vectors(  # noqa: PLR0913, the signature is public
    filepath,
    *,
    limit=None,
    dtype="float32",
    words=None,
    errors="strict",
    encoding="utf-8",
    rows=None,
    name=None,
    cache=True,
):
    """Loads vectors of words from any file, recognised by its content.

    GloVe text, word2vec text and binary, fastText `.vec` and `.bin`, `.npy`, `.npz`,
    safetensors, a TensorFlow checkpoint, a file of Keras; plain, in .gz or in .zip.
    The matrix is mapped from disk, so several processes share one copy.

    Args:
        filepath: str or path.
        limit: Positive int, read only so many rows, or None.
        dtype: "float32" or "float16"; a number too large for it is refused.
        words: Iterable of str, keep only these, or None.
        errors: "strict", "replace" or "ignore", for words that are not in `encoding`.
        encoding: str, of the words in text and binary files.
        rows: Sequence of str, the word of each row, or path of a text with one in each
            line, for files that have a matrix only.
        name: str, which member, array, tensor, variable or layer, where there are
            several.
        cache: True to keep what was parsed in the user's cache folder, False to leave
            nothing behind, or a folder.

    Returns:
        `WordVectors`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not wholly right; names line or byte, what was found
            and what to do.
    """
    _check(limit, dtype, errors, encoding)
    path = pathlib.Path(filepath)
    only = None if words is None else frozenset(_encoded(words))
    store = None
    if cache is not False:
        store = Cache(default_folder() if cache is True else cache)
    options = {
        "limit": limit,
        "dtype": dtype,
        "words": None if only is None else sorted(word.hex() for word in only),
        "errors": errors,
        "encoding": encoding,
        "name": name,
    }
    job = _Job(path, store, options, only, _read_rows(rows))
    prefix = models.find_checkpoint(path)
    if prefix is not None:
        return job.take_matrix(models.read_checkpoint(prefix, name), None)
    if not path.is_file():
        raise FileNotFoundError(f"`filepath` must be a file. Received: filepath={path}")
    return job.found() or job.read()


def _check(limit, dtype, errors, encoding):
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise ValueError(f"`limit` must be an int >= 1 (rows). Received: limit={limit}")
    if dtype not in ("float32", "float16"):
        raise ValueError(
            f'`dtype` must be "float32" or "float16". Received: dtype={dtype}'
        )
    if errors not in ("strict", "replace", "ignore"):
        raise ValueError(
            f'`errors` must be "strict", "replace" or "ignore". '
            f"Received: errors={errors}"
        )
    try:
        is_ascii = "0 \n".encode(encoding) == b"0 \n" and codecs.lookup(encoding)
    except LookupError:
        is_ascii = False
    if not is_ascii:
        raise ValueError(
            "`encoding` must be one that Python knows and that keeps ASCII as it is. "
            f"Received: encoding={encoding}"
        )


def _encoded(words):
    if isinstance(words, str):
        raise ValueError(  # noqa: TRY004, as all that is wrong with a value
            f"`words` must be an iterable of str. Received: words={words!r}"
        )
    return [word.encode("utf-8", "surrogatepass") for word in words]


def _read_rows(rows):
    if rows is None:
        return None
    if isinstance(rows, str | pathlib.Path):
        return pathlib.Path(rows).read_text(encoding="utf-8").split("\n")
    return list(rows)


class _Job:
    """One file on its way to a `WordVectors`."""

    def __init__(self, path, store, options, only, rows):
        self.path, self.store, self.options = path, store, options
        self.only, self.rows = only, rows
        # A matrix without words is not told by its own content.
        self.key = options if rows is None else None

    def found(self):
        """Returns what the cache has, or None."""
        if self.store is None or self.key is None:
            return None
        entry = self.store.find(self.path, self.key)
        if entry is None:
            return None
        mapped, words, meta = entry
        return WordVectors(words, mapped, self._subwords(meta, entry[0]))

    def _subwords(self, meta, mapped):
        kept = meta.get("subwords")
        if kept is None:
            return None
        shape = tuple(kept.pop("shape"))
        table = Mapped(self.path, shape, "<f4", kept.pop("offset"))
        return Subwords(table, **kept)

    def read(self):
        """Reads the file by what its first bytes say."""
        folder = None if self.store is None else self.store.folder
        name = self.options["name"]
        source = open_source(self.path, name, folder)
        head = source.read(0, 8)
        for magic, what in _FOREIGN:
            if head.startswith(magic):
                raise ValueError(f"{source.title} is {what}")
        if (
            source.archive is not None
            and "config.json" not in source.archive.namelist()
        ):
            return self.take_matrix(*arrays.read_npz(source, name, folder))
        if source.archive is not None or head == models.HDF5:
            return self.take_matrix(models.read_keras(source, name, folder), None)
        if head.startswith(arrays.NPY):
            return self.take_matrix(arrays.matrix_of_npy(source), None)
        if head.startswith(fasttext.MAGIC):
            return self.parse(source, fasttext.read_fasttext)
        if arrays.is_safetensors(source):
            return self.take_matrix(arrays.read_safetensors(source, name), None)
        if head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5":
            raise ValueError(
                f"{source.title} is a pickle, which can run code when it is read; save "
                "its vectors in the format of word2vec"
            )
        if not source.size:
            raise ValueError(f"{source.title} is empty (0 bytes)")
        is_binary = word2vec.is_binary(source)
        return self.parse(source, word2vec.read_binary if is_binary else text.read_text)

    def take_matrix(self, matrix, words):
        """Takes a matrix in place where that is possible, else copies it."""
        words = self.rows if self.rows is not None else words
        if words is None:
            raise ValueError(
                f"`rows` must name the word of each row: {self.path.name} has a matrix "
                f"of shape {tuple(matrix.shape)} and no words. Received: rows=None"
            )
        count = matrix.shape[0]
        if len(words) == count + 1 and not words[-1]:
            words = words[:-1]  # the last line of a text ends in a newline
        if len(words) != count:
            raise ValueError(
                f"`rows` must have {count} words, one for each row. Received: "
                f"{len(words)} words"
            )
        packed, limit = Words.of(words), self.options["limit"]
        if self._fits(matrix):
            if limit is not None:
                matrix, packed = matrix.head(limit), packed.head(limit)
            return WordVectors(packed, matrix, None)
        values = matrix.open() if isinstance(matrix, Mapped) else matrix
        lengths = np.diff(packed.offsets)

        def copy(source, sink, to_utf8, progress):
            del source, to_utf8, progress
            for i in range(0, count, _BLOCK):
                blob = packed.blob[
                    packed.offsets[i] : packed.offsets[min(i + _BLOCK, count)]
                ]
                sink.add(
                    blob.tobytes(),
                    lengths[i : i + _BLOCK],
                    np.asarray(values[i : i + _BLOCK]),
                )
                if sink.room == 0:
                    break

        return self._into(None, copy)

    def _fits(self, matrix):
        return (
            isinstance(matrix, Mapped)
            and self.only is None
            and matrix.dtype == np.dtype(self.options["dtype"])
            and matrix.offset % 64 == 0
        )

    def parse(self, source, read):
        """Parses a file, into the cache where there is one."""
        # What was unpacked lies in a temporary file, which an entry would outlive.
        has_table = read is fasttext.read_fasttext
        is_passing = has_table and not isinstance(source.file, pathlib.Path)
        if self.store is None or self.key is None or is_passing:
            return self._into(source, read)
        hasher = Hasher(self.path)
        with self.store.new_entry() as part:
            with (part / "matrix.npy").open("w+b") as file:
                shape, words, subwords = self._run(file, source, read)
            meta = {"dtype": np.dtype(self.options["dtype"]).str}
            if subwords is not None:
                table = subwords.table
                place = {"shape": table.shape, "offset": table.offset}
                meta["subwords"] = {**subwords.describe(), **place}
            kept = self.store.keep(
                part, self.path, hasher, self.key, (shape, words), meta
            )
        return WordVectors(kept[1], kept[0], subwords)

    def _into(self, source, read):
        file = TemporaryFile(None if self.store is None else self.store.folder)
        shape, words, subwords = self._run(file, source, read)
        mapped = Mapped(file, shape, self.options["dtype"], HEADER)
        return WordVectors(words, mapped, subwords)

    def _run(self, file, source, read):
        sink = Sink(file, self.options["dtype"], self.options["limit"], self.only)
        to_utf8 = text.ToUtf8(self.options["encoding"], self.options["errors"])
        progress = Progress(0 if source is None else source.size)
        try:
            subwords = read(source, sink, to_utf8, progress)
        finally:
            progress.close()
        if not sink.rows:
            raise ValueError(
                f"{self.path.name} has {sink.seen} rows, and none of the words asked "
                "for; check their spelling and case"
            )
        shape, words = sink.finish()
        return shape, words, subwords
