"""The memory that functions take: known sizes, mapped files, errors and deaths."""

import os
import re
import sys
import time

import cloudpickle
import numpy as np
import pytest

from workbench.experiments.memory import MemoryCosts, measure_memory

UNIT = 40_000_000  # above what the allocator of C keeps for later


@pytest.fixture(autouse=True)
def by_value():
    """As functions of a notebook are: to import this file would import Keras."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def one():
    return np.ones(UNIT // 8)


def two_then_one():
    first, second = one(), one()
    time.sleep(1)  # long enough to be looked at on a busy machine
    del second
    return first


def three():
    return [one(), one(), one()]


def nothing():
    return None


def test_known_sizes(tmp_path):
    path = tmp_path / "file.npy"
    np.save(path, one())

    def mapped():
        array = np.load(path, mmap_mode="r")
        assert array.sum() == UNIT // 8
        return array

    ways = {f.__name__: f for f in (nothing, one, two_then_one, three, mapped)}
    costs = measure_memory(ways, unit=UNIT, prepare=lambda: np.ones(10))
    assert list(costs.kept) == list(ways)
    kept = {name: round(value) for name, value in costs.kept.items()}
    wanted = {"nothing": 0, "one": 1, "two_then_one": 1, "three": 3, "mapped": 0}
    assert kept == wanted
    assert all(costs.peak[name] >= costs.kept[name] for name in ways)
    assert round(costs.peak["two_then_one"]) == 2
    assert costs.peak["mapped"] < 0.3


def test_an_error_and_a_death_are_told():
    ways = {"good": one, "bad": lambda: 1 / 0, "dies": lambda: os._exit(3)}
    with pytest.raises(RuntimeError) as caught:
        measure_memory(ways, unit=UNIT)
    text = str(caught.value)
    assert re.search(r"(?s)'bad': Traceback.*ZeroDivisionError", text)
    assert "'dies': its process ended with code 3" in text
    assert "good" not in text


def test_a_unit_is_needed():
    with pytest.raises(ValueError, match=r"`unit` must be an int >= 1.*unit=0"):
        measure_memory({}, unit=0)


def test_the_report_is_in_whole_copies():
    text = str(MemoryCosts(UNIT, {"a way": 4.2}, {"a way": 1.9}))
    assert "copies of 40 MB" in text
    assert re.search(r"a way\s+4\s+2$", text)
