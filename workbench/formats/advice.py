"""Advice that libraries give while they save, kept out of the log."""

import contextlib
import logging
import warnings

_TALKERS = ("absl", "tensorflow", "tf2onnx.tfonnx")


@contextlib.contextmanager
def held_back():
    """Holds back advice, such as not to save as `.h5`: what came back says it."""
    loggers = [logging.getLogger(name) for name in _TALKERS]

    def silent(_record):
        return False

    for logger in loggers:
        logger.addFilter(silent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(silent)
