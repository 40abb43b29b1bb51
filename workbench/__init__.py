"""The TensorFlow workbench: see, steer and compare what training does.

Importing this package loads neither TensorFlow nor Keras; each submodule loads
what it needs, when it is imported.
"""

__version__ = "0.1.0"
