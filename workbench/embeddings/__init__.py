"""Vectors of words: any file into a matrix, and into a right Keras layer."""

from workbench.embeddings.coverage import Coverage
from workbench.embeddings.loading import load_vectors
from workbench.embeddings.looking_up import lookup
from workbench.embeddings.vectors import WordVectors

__all__ = ["Coverage", "WordVectors", "load_vectors", "lookup"]
