"""`compare` through executors: the same records as here, failures included."""

import concurrent.futures
import multiprocessing

import distributed
import keras
import numpy as np
import pytest
import tensorflow as tf

from workbench import clipping
from workbench.experiments import Variant, compare, remote

optimizers = keras.optimizers
rng = np.random.default_rng(0)
DATA = (rng.random((100, 12), "float32"), rng.integers(0, 3, 100))


def variants():
    schedule = optimizers.schedules.CosineDecay(0.5, 10)
    decayed = optimizers.AdamW(0.01)
    decayed.exclude_from_weight_decay(var_names=["bias"])
    return {
        "compiled": Variant(),
        "schedule": Variant(optimizers.SGD(schedule), clip=clipping.ByGlobalNorm(0.1)),
        "decayed": Variant(decayed, penalty=keras.regularizers.L1(0.001), seed=3),
        "nameless": Variant("no such optimizer"),
    }


def arguments():
    units = 5

    def build():  # a closure, which does not pickle
        model = keras.Sequential(
            [keras.Input((12,)), keras.layers.Dense(units), keras.layers.Dense(3)]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, metrics=["accuracy"])
        return model

    return {"build": build, "data": DATA, "epochs": 2, "validation_data": DATA}


def assert_same(there, here):
    assert list(there.records) == list(here.records)
    for name, record in here.records.items():
        other = there.records[name]
        assert (other.status, other.reason) == (record.status, record.reason)
        np.testing.assert_allclose(other.loss, record.loss, rtol=1e-5)
        assert dict(other.epochs).keys() == dict(record.epochs).keys()
        for one, two in zip(there.weights(name), here.weights(name), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def here():
    return compare(**arguments(), variants=variants())


def test_spawned_process(here):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        assert_same(
            compare(**arguments(), variants=variants(), executor=executor), here
        )


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_dask_worker_on_loopback(here):
    cluster = distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address=None,
    )
    with cluster, distributed.Client(cluster) as client:
        executor = client.get_executor()
        assert_same(
            compare(**arguments(), variants=variants(), executor=executor), here
        )


class Inline(concurrent.futures.Executor):
    """Runs a task at once, except those named; counts the tasks."""

    def __init__(self, error=None):
        self.error = error
        self.tasks = []

    def submit(self, function, *args):
        self.tasks.append(args)
        future = concurrent.futures.Future()
        if self.error is not None and len(self.tasks) == 2:
            future.set_exception(self.error)
        else:
            future.set_result(function(*args))
        return future


def test_a_few_variants_per_task_and_a_lost_worker(monkeypatch, here):
    monkeypatch.setattr(remote, "_VARIANTS_PER_TASK", 1)
    executor = Inline(error=RuntimeError("worker lost"))
    there = compare(**arguments(), variants=variants(), executor=executor)
    assert len(executor.tasks) == 4
    assert there.records["schedule"].status == "failed"
    assert "worker lost" in there.records["schedule"].reason
    assert there.records["decayed"].status == "finished"
    np.testing.assert_allclose(
        there.records["decayed"].loss, here.records["decayed"].loss, rtol=1e-5
    )


def test_a_dataset_travels_as_what_it_gives():
    x, y = DATA
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(100, seed=1).batch(30)
    wanted = {"a": Variant(optimizers.SGD(0.1))}
    call = {"build": arguments()["build"], "epochs": 2}
    there = compare(**call, data=dataset, variants=wanted, executor=Inline())
    assert there.records["a"].status == "finished"
    assert len(there.records["a"].loss) == 8


def test_interrupted_while_waiting(monkeypatch):
    def interrupt(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(remote, "_VARIANTS_PER_TASK", 2)
    monkeypatch.setattr(remote.concurrent.futures, "wait", interrupt)
    there = compare(**arguments(), variants=variants(), executor=Inline())
    assert there.interrupted
    assert there.records["compiled"].status == "finished"  # it was done already
