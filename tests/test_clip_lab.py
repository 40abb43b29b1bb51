"""Clip Lab, driven from Python as the mouse would; the model stays as it is."""

import base64
import re
import threading
import time
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
import traitlets
from ipywidgets.widgets.widget import _instances

from tests.models import mlp, mlp_with_dropout, state_of
from tests.waiting import wait_for
from workbench import clipping, data
from workbench.experiments import Variant, compare
from workbench.plots import clip_figure, to_png
from workbench.plots.clipping import (
    count_exploded,
    joint,
    plot_methods,
    rows_of,
    short_names,
)
from workbench.training import LayerRecords
from workbench.widgets import clip_reading
from workbench.widgets.background import BackgroundComparison
from workbench.widgets.clip_lab import ClipLab
from workbench.widgets.model_copies import ModelCopies

SECONDS = 60
LENGTH = 12


def rnn(optimizer=None, loss="mse", **arguments):
    keras.utils.set_random_seed(1)
    layers = [keras.layers.SimpleRNN(16), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((LENGTH, 2)), *layers])
    model.compile(optimizer or keras.optimizers.SGD(0.05), loss, **arguments)
    return model


def exploding():
    return rnn(keras.optimizers.SGD(0.7))


class Endless(keras.utils.PyDataset):
    """Batches without a near end, so that a test can act in the middle."""

    def __init__(self):
        super().__init__()
        self.x, self.y = sequences(32)

    @property
    def num_batches(self):
        return 100_000

    def __getitem__(self, index):
        return self.x, self.y


def sequences(count=320):
    return data.sample_adding_problem(count, LENGTH, seed=0)


@pytest.fixture
def make_lab():
    """Makes panels and closes them afterwards."""
    labs = []

    def make(model=None, given=None, **arguments):
        given = sequences() if given is None else given
        labs.append(ClipLab(model or rnn(), given, **arguments))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


def norms_after(lab):
    return joint(lab.run.layers.norm_after)


# What the model was compiled with


@pytest.mark.parametrize(
    ("optimizer", "method", "threshold"),
    [
        (keras.optimizers.SGD(0.1), "no clipping", 0.0),
        (keras.optimizers.SGD(0.1, clipnorm=1.0), "by norm", 1.0),
        (keras.optimizers.Adam(0.1, global_clipnorm=0.7), "as compiled", 0.7),
        (keras.optimizers.SGD(0.1, clipvalue=0.3), "as compiled", 0.3),
        (clipping.ByGlobalNorm(1.0).wrap(keras.optimizers.Adam()), "by global norm", 1),
        (clipping.AutoClip(20).wrap(keras.optimizers.SGD()), "as compiled", 20),
    ],
    ids=["none", "clipnorm", "global_clipnorm", "clipvalue", "wrap", "wrap AutoClip"],
)
def test_it_begins_with_how_the_model_clips(make_lab, optimizer, method, threshold):
    lab = make_lab(rnn(optimizer))
    assert (lab.method, lab.threshold) == (method, threshold)
    assert lab.method in lab.chosen
    lab.start()
    lab.run.wait(SECONDS)
    assert lab.run.layers is not None


def test_the_copy_begins_like_the_model_and_the_model_stays(make_lab):
    model = rnn(
        keras.optimizers.Adam(1e-2),
        metrics=["mae", keras.metrics.RootMeanSquaredError()],
    )
    model.fit(*sequences(64), verbose=0)
    before = state_of(model)
    metrics = [v.numpy().copy() for v in model.metrics_variables]
    lab = make_lab(model, epochs=2)
    for name in ("no clipping", "by value"):
        lab.method = name
        lab.start()
        lab.run.wait(SECONDS)
    lab.chosen = ("no clipping", "by norm")
    lab.compare()
    wait_for(lambda: not lab.comparing)
    after = state_of(model)
    assert before.keys() == after.keys()
    for path, values in before.items():
        np.testing.assert_array_equal(values, after[path])
    for old, new in zip(metrics, model.metrics_variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_starts_repeat_each_other_bit_for_bit(make_lab, digits):
    keras.utils.set_random_seed(1)
    model = mlp_with_dropout()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    lab, losses = make_lab(model, digits), []
    for _ in range(2):
        lab.start()
        lab.run.wait(SECONDS)
        losses.append(lab.run.records.loss)
    np.testing.assert_array_equal(*losses)


# The threshold


def test_a_threshold_set_while_it_trains_is_used_by_the_next_step(make_lab):
    lab = make_lab(rnn(), Endless())
    lab.method, lab.threshold = "by global norm", 1e-3
    lab.start()
    wait_for(lambda: len(lab.run.records) > 10)
    lab.threshold = 1e-5
    wait_for(lambda: lab.run.changes)
    (change,) = lab.run.changes
    wait_for(lambda: len(lab.run.records) > change.step + 10)
    lab.stop()
    lab.run.wait(SECONDS)
    after = norms_after(lab)
    np.testing.assert_allclose(after[: change.step - 1], 1e-3, rtol=1e-4)
    np.testing.assert_allclose(after[change.step - 1 :], 1e-5, rtol=1e-4)
    wait_for(lambda: lab.share_clipped == 1)


def test_the_slider_does_what_the_trait_does(make_lab):
    lab = make_lab(rnn(), Endless())
    lab.method = "by global norm"
    lab.start()
    wait_for(lambda: len(lab.run.records) > 3)
    lab._view.threshold.value = 0.01
    assert lab.threshold == 0.01
    wait_for(lambda: lab.run.changes)
    assert lab.run.changes[0].new == pytest.approx(0.01)
    lab.threshold = 0.05
    assert lab._view.threshold.value == pytest.approx(0.05)


def test_a_threshold_set_before_holds_from_the_first_step(make_lab):
    lab = make_lab()
    lab.method = "by norm"
    lab.threshold = 1e-4
    lab.start()
    lab.run.wait(SECONDS)
    np.testing.assert_allclose(lab.run.layers.norm_after, 1e-4, rtol=1e-4)
    assert lab.run.changes == ()


def test_each_method_remembers_its_threshold(make_lab):
    lab = make_lab()
    lab.method = "by norm"
    lab.threshold = 0.25
    lab.method = "no clipping"
    assert lab.threshold == 0
    assert lab._view.threshold.disabled
    lab.method = "by norm"
    assert lab.threshold == 0.25
    assert lab.methods["by norm"] == clipping.ByNorm(0.25)
    assert lab._view.method.value == "by norm"
    lab._view.method.value = "ZClip"
    assert (lab.method, lab.threshold) == ("ZClip", 2.5)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_threshold_is_refused(make_lab, value):
    lab = make_lab()
    lab.method = "by global norm"
    with pytest.raises(ValueError, match="`global_clipnorm` must be a positive"):
        lab.threshold = value
    assert lab.threshold == 1.0


def test_the_method_cannot_change_while_a_copy_trains(make_lab):
    lab = make_lab(rnn(), Endless())
    lab.start()
    with pytest.raises(ValueError, match="`method` cannot change while a copy trains"):
        lab.method = "by norm"
    wait_for(lambda: lab._view.method.disabled)
    with pytest.raises(RuntimeError, match="A copy trains already"):
        lab.start()
    lab.stop()
    lab.run.wait(SECONDS)
    lab.method = "by norm"


def test_wrong_names_are_refused(make_lab):
    lab = make_lab()
    with pytest.raises(ValueError, match="`method` must be one of"):
        lab.method = "by magic"
    with pytest.raises(ValueError, match="`chosen` must name some of"):
        lab.chosen = ("by magic",)
    with pytest.raises(ValueError, match="`threshold` must be 0 for no clipping"):
        lab.threshold = 1.0


def test_pause_and_resume(make_lab):
    lab = make_lab(rnn(), Endless())
    lab._view.start.click()
    wait_for(lambda: len(lab.run.records) > 3)
    lab._view.pause.value = True
    wait_for(lambda: lab.state == "paused")
    stood = len(lab.run.records)
    time.sleep(0.2)
    assert len(lab.run.records) == stood
    assert lab._view.pause.description == "Resume"
    lab.paused = False
    wait_for(lambda: len(lab.run.records) > stood)
    lab._view.stop.click()
    wait_for(lambda: lab.state == "stopped")


# NaN


def test_an_explosion_is_told_with_step_layer_and_remedy(make_lab):
    lab = make_lab(exploding(), sequences(1600), batch_size=16)
    lab.start()
    problem = wait_for(lambda: lab.problem)
    step = int(re.match(r"NaN or Inf at step (\d+): ", problem)[1])
    assert step == len(lab.run.records)
    assert np.isnan(lab.run.layers.norm_before[-1]).all()
    assert re.search(r"most of it was in (simple_rnn|dense)\w*/\w+\.", problem)
    assert lab.state == "paused"
    assert 'role="alert"' in lab._view.problem.value
    assert lab._view.apply_remedy.layout.display == ""
    first = lab.run
    lab._view.apply_remedy.click()
    assert lab.run is not first
    lab.run.wait(SECONDS)
    assert lab.error == ""
    assert lab.method == "by global norm"
    assert lab.run.records.loss.max() < 1e3
    wait_for(lambda: lab.state == "finished")
    assert lab.problem == lab._view.problem.value == ""


def test_one_bad_sample_is_told_apart_from_an_explosion(make_lab):
    x, y = sequences()
    x[5] = np.nan
    lab = make_lab(rnn(), (x, y))
    lab.start()
    problem = wait_for(lambda: lab.problem)
    assert "the input batch" in problem
    assert "clipping would hold back" in problem or "no time to grow" in problem
    assert lab._view.apply_remedy.layout.display == "none"
    lab.paused = False
    lab.run.wait(SECONDS)
    assert lab.run.state == "finished"


def test_a_model_that_is_lost_already_starts_from_new_weights(make_lab):
    model = rnn()
    model.layers[0].cell.kernel.assign(np.full((2, 16), np.nan))
    lab = make_lab(model)
    assert lab.new_weights
    lab.start()
    lab.run.wait(SECONDS)
    assert np.isfinite(lab.run.records.loss).all()
    lab.new_weights = False
    with pytest.raises(ValueError, match=r"`new_weights` must be True.*kernel"):
        lab.start()
    with pytest.raises(ValueError, match="`new_weights` must be True"):
        lab.compare()
    lab._view.start.click()
    assert "`new_weights` must be True" in lab.error


# Comparing


def test_compare_is_what_experiments_compare_gives(make_lab):
    model = rnn(metrics=["mae"])
    lab = make_lab(model, batch_size=16)
    lab.chosen = ("no clipping", "by norm", "AutoClip")
    lab.compare()
    assert lab.comparing
    with pytest.raises(RuntimeError, match="A comparison trains already"):
        lab.compare()
    wait_for(lambda: not lab.comparing)
    assert lab.error == ""
    assert lab.compared == 1
    variants = {name: Variant(clip=lab.methods[name]) for name in lab.chosen}
    expected = compare(ModelCopies(model).make, lab._data, variants, batch_size=16)
    for name, record in expected.records.items():
        np.testing.assert_array_equal(lab.comparison.records[name].loss, record.loss)
        assert name in lab._view.table.value
    assert "mae" in lab._view.table.value
    assert "<img alt=" in lab._view.curves.value


def test_a_comparison_ends_with_what_it_has(make_lab):
    lab = make_lab(given=sequences(6400), epochs=500)
    lab.chosen = ("no clipping", "by norm")
    lab.compare()
    wait_for(lambda: lab.compared > 0)
    lab._view.end.click()
    wait_for(lambda: not lab.comparing)
    assert lab.comparison.interrupted
    assert all(len(r.loss) for r in lab.comparison.records.values())


def test_what_diverged_is_told_in_the_table(make_lab):
    lab = make_lab(exploding(), sequences(1600), batch_size=16)
    lab.chosen = ("no clipping", "by global norm")
    lab._view.compare.click()
    wait_for(lambda: not lab.comparing and lab.comparison)
    assert lab.comparison.records["no clipping"].status == "diverged"
    assert "diverged: loss is" in lab._view.table.value
    assert "global_clipnorm = 1" in lab._view.table.value


def test_nothing_chosen_is_an_error_in_the_panel(make_lab):
    lab = make_lab()
    lab.chosen = ()
    lab._view.compare.click()
    assert "`chosen` must name at least one" in lab.error
    assert 'role="alert"' in lab._error_view.value


def test_what_a_comparison_raises_appears_in_the_panel(make_lab):
    lab = make_lab()
    lab._data = (np.zeros((3, 1)), np.zeros(2))
    lab.compare()
    wait_for(lambda: lab.error)
    assert "`data` must hold arrays" in lab.error
    assert not lab.comparing


def test_a_background_comparison_says_when_it_ended():
    background = BackgroundComparison(
        rnn, sequences(64), {"a": Variant(), "b": Variant(clip=clipping.NoClip())}
    )
    assert background.share == 0
    assert background.start().wait(SECONDS)
    assert background.share == 1
    assert background.error is None
    assert list(background.result.records) == ["a", "b"]


# Copies


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.recurrent = keras.layers.SimpleRNN(4)
        self.head = keras.layers.Dense(1)

    def call(self, x):
        return self.head(self.recurrent(x))


def build_subclassed():
    keras.utils.set_random_seed(1)
    model = Subclassed()
    model.compile("sgd", lambda y, p: tf.reduce_mean((y - p) ** 2))
    return model


def test_a_model_that_keras_cannot_clone_comes_as_a_function(make_lab):
    model = build_subclassed()
    model(sequences(2)[0])
    lab = make_lab(model)
    lab._view.start.click()
    assert "pass the function that builds and compiles it" in lab.error
    lab = make_lab(build_subclassed)
    lab.method = "by global norm"
    lab.start()
    lab.run.wait(SECONDS)
    assert lab.run.records.loss[-1] < lab.run.records.loss[0]
    with pytest.raises(RuntimeError, match="`keep` needs a run that has ended"):
        lab.keep()


def test_keep_puts_the_weights_into_the_model(make_lab):
    model = rnn()
    lab = make_lab(model)
    with pytest.raises(RuntimeError, match="`keep` needs a run that has ended"):
        lab.keep()
    lab.start()
    lab.run.wait(SECONDS)
    wait_for(lambda: not lab._view.keep.disabled)
    lab._view.keep.click()
    for mine, copied in zip(model.weights, lab.run.model.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), copied.numpy())


def test_copies_keep_loss_schedule_metrics_and_what_is_not_decayed():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    optimizer = keras.optimizers.AdamW(schedule, clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    loss = lambda y, p: tf.reduce_mean(tf.abs(y - p))  # noqa: E731, cannot be saved
    model = rnn(optimizer, loss, metrics=["mae"])
    copy = ModelCopies(model).make()
    assert copy.loss is loss
    assert copy.optimizer is not optimizer
    assert copy.optimizer.clipnorm is None
    assert isinstance(copy.optimizer._learning_rate, type(schedule))
    copy.fit(*sequences(32), verbose=0)
    assert not copy.optimizer._use_weight_decay(copy.layers[0].cell.bias)
    assert optimizer.clipnorm == 1.0


def test_new_weights_are_drawn_by_the_models_own_initializers():
    model = rnn()
    model.set_weights([np.full_like(w, 7) for w in model.get_weights()])
    copies = ModelCopies(model)
    assert copies.make().get_weights()[0].min() == 7
    assert abs(copies.make(new_weights=True).get_weights()[0]).max() < 2


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (keras.Sequential([keras.layers.Dense(1)]), "must be compiled"),
        ("rnn", "must be a compiled keras.Model, or a function"),
        (lambda: None, "must be compiled"),
    ],
)
def test_what_is_no_compiled_model_is_refused(model, words):
    with pytest.raises(ValueError, match=words):
        ClipLab(model, sequences())


def test_methods_of_ones_own(make_lab):
    def halve(gradients, _variables):
        return [gradient / 2 for gradient in gradients]

    mine = {"mine": clipping.Custom(halve), "global": clipping.ByGlobalNorm(0.1)}
    lab = make_lab(methods=mine)
    assert lab.method == "mine"
    lab.start()
    lab.run.wait(SECONDS)
    layers = lab.run.layers
    np.testing.assert_allclose(layers.norm_after, layers.norm_before / 2, rtol=1e-5)
    with pytest.raises(ValueError, match="`methods` must be a dict"):
        ClipLab(rnn(), sequences(), methods={})


def test_a_dataset_is_taken_as_it_comes(make_lab):
    dataset = tf.data.Dataset.from_tensor_slices(sequences(64)).batch(8)
    lab = make_lab(given=dataset)
    lab.start()
    lab.run.wait(SECONDS)
    assert len(lab.run.records) == 8
    lab.chosen = ("by norm", "by value")
    lab.compare()
    wait_for(lambda: not lab.comparing)
    assert len(lab.comparison.records["by norm"].loss) == 8


# The panel as a whole


def test_close_ends_runs_threads_and_widgets():
    before, threads = set(_instances), threading.active_count()
    lab = ClipLab(rnn(), Endless())
    lab.start()
    lab.chosen = ("no clipping", "by norm")
    wait_for(lambda: len(lab.run.records) > 3)
    run = lab.run
    lab.close()
    lab.close()
    assert run.state == "stopped"
    assert set(_instances) == before
    wait_for(lambda: threading.active_count() == threads)


def test_close_ends_a_comparison():
    threads = threading.active_count()
    lab = ClipLab(rnn(), sequences(6400), epochs=500)
    lab.compare()
    wait_for(lambda: lab.compared > 0)
    lab.close()
    wait_for(lambda: threading.active_count() == threads)


def test_it_prints_the_same_each_time_and_has_a_picture(make_lab):
    lab = make_lab()
    assert repr(lab) == "ClipLab(model, data)"
    picture = base64.b64decode(lab._repr_mimebundle_()["image/png"])
    assert picture.startswith(b"\x89PNG")
    lab.method = "by global norm"
    lab.start()
    lab.run.wait(SECONDS)
    wait_for(lambda: lab.state == "finished")
    wait_for(lambda: f"over {lab.step} steps" in lab._view.plot.value)
    assert lab._picture() != picture
    assert "clipped" in lab._view.text.value


def test_traits_that_follow_cannot_be_mistaken_for_wishes(make_lab):
    lab = make_lab(rnn(), Endless())
    assert isinstance(lab, traitlets.HasTraits)
    lab.start()
    wait_for(lambda: lab.step > 3)
    assert lab.run.changes == ()
    assert lab.total_steps == 100_000


# What it reads


def layers_of(norms, paths=("a/kernel", "b/kernel"), clipped=None):
    norms = np.asarray(norms, "float32")
    clipped = np.zeros(norms.shape, bool) if clipped is None else clipped
    step = np.arange(1, len(norms) + 1)
    cosine = np.ones_like(norms)
    return LayerRecords(paths, step, norms, norms, clipped, cosine)


def test_the_slider_reaches_around_the_norms_that_were_seen():
    layers = layers_of([[3.0, 4.0]] * 5)
    clip = clipping.ByGlobalNorm(1.0)
    assert clip_reading.slider_range(clip, None, 1) == (-3, 3)
    assert clip_reading.slider_range(clip, layers, 1) == (-2, 3)
    assert clip_reading.slider_range(clipping.ByGlobalNorm(1e5), layers, 1) == (-2, 5)
    assert clip_reading.slider_range(clipping.ByValue(1e-3), layers, 10_000) == (-4, 1)
    assert clip_reading.slider_range(clipping.AutoClip(10), layers, 1) == (0, 2)
    assert clip_reading.usual_norm(layers, clipping.ByNorm(1.0)) == 3.5
    assert clip_reading.usual_norm(layers_of([[np.nan, 1.0]])) is None
    explosion = layers_of([[0.0, 10.0**power] for power in range(20)])
    assert clip_reading.usual_norm(explosion) < 200


def diagnose(norms, paths=("a/kernel", "b/kernel")):
    rows = [[0.1 * norm, norm] for norm in norms]
    records = types.SimpleNamespace(gradient_norm=np.array([*norms, np.nan]))
    layers = layers_of([*rows, [np.nan, np.nan]], paths)
    return clip_reading.diagnose(f"step {len(norms) + 1}: x", layers, records)


def test_a_diagnosis_names_where_the_explosion_began():
    calm = [1.0, 1.2, 0.8] * 40
    diagnosis = diagnose([*calm, 50.0, 1e4, 1e9])
    assert "about 1 until step 120, then grew to 1.0e+09" in diagnosis.text
    assert "most of it was in b/kernel" in diagnosis.text
    assert diagnosis.threshold == 1.0
    early = diagnose([1.0, 2.0, 100.0, 1e4, 1e8, 1e12, 1e16])
    assert "until step 2" in early.text
    assert early.threshold == pytest.approx(0.1)


def test_a_diagnosis_does_not_sell_clipping_where_it_would_not_help():
    assert diagnose([1.0, 1.2, 0.8] * 10).threshold is None
    assert diagnose([1.0]).threshold is None


def test_rows_are_variables_or_layers_where_those_are_many():
    few = layers_of([[3.0, 4.0]])
    names, before, _ = rows_of(few)
    assert names == ["a/kernel", "b/kernel"]
    np.testing.assert_allclose(before[:, 0], [3, 4])
    paths = [f"model/layer_{i}/{w}" for i in range(10) for w in ("kernel", "bias")]
    many = layers_of([[3.0, 4.0] * 10] * 2, tuple(paths))
    names, before, after = rows_of(many)
    assert names == [f"layer_{i}" for i in range(10)]
    np.testing.assert_allclose(before, np.full((10, 2), 5.0))
    assert after.shape == (10, 2)


def test_short_names_stay_different():
    assert short_names(["m/lstm/lstm_cell/kernel", "m/dense/bias"]) == [
        "lstm/kernel",
        "dense/bias",
    ]
    assert short_names(["m/a/b/kernel", "m/a/c/kernel"]) == ["b/kernel", "c/kernel"]
    assert short_names(["kernel"]) == ["kernel"]
    same = ["m/x/a/kernel", "m/x/b/kernel", "m/y/a/kernel"]
    assert len(set(short_names(same))) == 3


def test_a_long_run_is_drawn_with_its_extremes():
    rng = np.random.default_rng(0)
    norms = np.exp(rng.normal(size=(5000, 2)))
    norms[1234] = 1e6
    norms[4000] = np.nan
    layers = layers_of(norms, clipped=norms > 2)
    figure = clip_figure.ClipFigure()
    records = types.SimpleNamespace(step=layers.step, loss=norms[:, 0])
    figure.update(records, layers, 5000, [(1, 1.0), (2000, 0.5)])
    image = figure._lines["before", "image"].get_array()
    assert image.shape[1] <= 300
    assert np.ma.masked_invalid(image).max() == pytest.approx(6)
    assert np.isnan(np.ma.getdata(image)).any() or np.ma.getmaskarray(image).any()
    assert figure.to_png().startswith(b"\x89PNG")
    source = types.SimpleNamespace(records=records, layers=layers)
    assert to_png(clip_figure.plot_layers(source)).startswith(b"\x89PNG")


def test_methods_are_grouped_by_seed_and_counted():
    variants = {
        f"{name}, seed {seed}": Variant(clip=clip, seed=seed)
        for name, clip in {"no": None, "yes": clipping.ByGlobalNorm(0.1)}.items()
        for seed in range(2)
    }
    comparison = compare(exploding, sequences(), variants, batch_size=8)
    assert count_exploded(comparison, 1e3) == {"no": 2, "yes": 0}
    figure = plot_methods({"T": comparison})
    assert [label.get_text() for label in figure.axes[2].get_yticklabels()] == [
        "no",
        "yes",
    ]


def test_the_model_of_an_mlp_shows_its_layers(make_lab, digits):
    model = mlp()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    lab = make_lab(model, digits)
    lab.method = "by global norm"
    lab.start()
    lab.run.wait(SECONDS)
    names, _, _ = rows_of(lab.run.layers)
    assert names == ["hidden/kernel", "hidden/bias", "logits/kernel", "logits/bias"]
