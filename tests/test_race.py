"""The race of optimizers against their rules in NumPy, and against theory."""

import io

import keras
import numpy as np
import pytest
from PIL import Image

from benchmarks import optimizers as benchmark
from workbench.experiments.contestants import CONTESTANTS, explain
from workbench.experiments.racing import race
from workbench.experiments.surfaces import SURFACES, quadratic
from workbench.plots import show, to_png
from workbench.plots.race import animate_races, plot_races

RATE = 0.05
EPSILON = 1e-7


# The rules as `explain` tells them: w, gradient, memory (a dict), step from 1 -> new w


def _gradient_descent(w, g, _m, _t):
    return w - RATE * g


def _momentum(w, g, m, _t, factor=0.9):
    m["v"] = factor * m.get("v", 0) - RATE * g
    return w + m["v"]


def _nesterov(w, g, m, _t):
    m["v"] = 0.9 * m.get("v", 0) - RATE * g
    return w + 0.9 * m["v"] - RATE * g


def _adagrad(w, g, m, _t):
    m["a"] = m.get("a", 0.1) + g**2
    return w - RATE * g / np.sqrt(m["a"] + EPSILON)


def _adadelta(w, g, m, _t):
    a = m["a"] = 0.95 * m.get("a", 0) + 0.05 * g**2
    d = g * np.sqrt(m.get("b", 0) + EPSILON) / np.sqrt(a + EPSILON)
    m["b"] = 0.95 * m.get("b", 0) + 0.05 * d**2
    return w - RATE * d


def _rmsprop(w, g, m, _t):
    m["a"] = 0.9 * m.get("a", 0) + 0.1 * g**2
    return w - RATE * g / np.sqrt(m["a"] + EPSILON)


def _adam(w, g, m, t):
    m["m"] = 0.9 * m.get("m", 0) + 0.1 * g
    m["v"] = 0.999 * m.get("v", 0) + 0.001 * g**2
    alpha = RATE * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return w - alpha * m["m"] / (np.sqrt(m["v"]) + EPSILON)


def _adamw(w, g, m, t):
    return _adam(w - RATE * 0.004 * w, g, m, t)


def _lion(w, g, m, _t):
    old = m.get("m", 0)
    m["m"] = 0.99 * old + 0.01 * g
    return w - RATE * np.sign(0.9 * old + 0.1 * g)


def _muon(w, g, m, _t):
    m["m"] = 0.95 * m.get("m", 0) + g
    x = (g + 0.95 * m["m"])[None]
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return w - RATE * 0.004 * w - RATE * 0.2 * np.sqrt(2) * x[0]


RULES = dict(
    zip(
        CONTESTANTS,
        (
            _gradient_descent,
            _momentum,
            _nesterov,
            _adagrad,
            _adadelta,
            _rmsprop,
            _adam,
            _adamw,
            _lion,
            _muon,
        ),
        strict=True,
    )
)


def walk(surface, rule, steps):
    """Goes downhill in NumPy, with the gradient by differences, `(steps + 1, 2)`."""
    path, memory, h = [np.array(surface.start)], {}, 1e-6
    for t in range(1, steps + 1):
        w = path[-1]
        gradient = np.array(
            [
                surface(w[0] + h, w[1]) - surface(w[0] - h, w[1]),
                surface(w[0], w[1] + h) - surface(w[0], w[1] - h),
            ]
        )
        path.append(rule(w, gradient / (2 * h), memory, t))
    return np.array(path)


@pytest.fixture(scope="module")
def ways():
    """All optimizers on a mild bowl, by the race."""
    optimizers = {name: one.make(RATE) for name, one in CONTESTANTS.items()}
    return race(quadratic(4.0, (2.0, -1.5)), optimizers, 60)


@pytest.mark.parametrize("name", CONTESTANTS)
def test_the_race_follows_the_rule_that_is_explained(ways, name):
    expected = walk(ways.surface, RULES[name], 60)
    np.testing.assert_allclose(ways.paths[name], expected, rtol=1e-4, atol=1e-5)
    losses = ways.surface(*ways.paths[name].T)
    np.testing.assert_array_equal(ways.losses[name], losses)


def test_muon_trains_by_adamw_what_is_no_matrix():
    adamw = keras.optimizers.AdamW(RATE)
    muon = keras.optimizers.Muon(RATE)
    vectors = [keras.Variable([2.0, -1.5]) for _ in range(2)]
    for optimizer, vector in zip((adamw, muon), vectors, strict=True):
        for gradient in ([1.0, 2.0], [-3.0, 0.5]):
            optimizer.apply([keras.ops.array(gradient)], [vector])
    np.testing.assert_allclose(*vectors, rtol=1e-6)


def test_momentum_changes_on_the_way():
    surface, steps = quadratic(4.0, (2.0, -1.5)), 40
    factors = np.linspace(0.2, 0.95, steps)
    optimizers = {
        "changing": keras.optimizers.SGD(RATE, momentum=0.5),
        "fixed": keras.optimizers.SGD(RATE, momentum=0.5),
    }
    live = {"changing": {"momentum": factors}}
    paths = race(surface, optimizers, steps, live=live).paths

    def rule(w, g, m, t):
        return _momentum(w, g, m, t, factors[t - 1])

    expected = walk(surface, rule, steps)
    np.testing.assert_allclose(paths["changing"], expected, rtol=1e-4, atol=1e-5)
    assert abs(paths["fixed"][-1] - paths["changing"][-1]).max() > 0.01


def test_a_schedule_is_followed():
    schedule = keras.optimizers.schedules.CosineDecay(0.2, 30)
    surface = quadratic(1.0, (1.0, 1.0))
    result = race(surface, {"cosine": keras.optimizers.SGD(schedule)}, 30)
    rates = np.array([float(schedule(step)) for step in range(30)])
    expected = np.concatenate([[1.0], np.cumprod(1 - rates)])
    np.testing.assert_allclose(result.paths["cosine"][:, 0], expected, rtol=1e-5)


def test_the_optimizers_are_not_changed():
    optimizer = keras.optimizers.SGD(0.1, momentum=0.5)
    race(quadratic(2.0), {"mine": optimizer}, 3, live={"mine": {"momentum": [0.1] * 3}})
    assert not optimizer.built
    assert optimizer.momentum == 0.5


@pytest.mark.parametrize("surface", SURFACES.values(), ids=list(SURFACES))
def test_surfaces_are_lowest_where_they_say(surface):
    grid = np.meshgrid(
        np.linspace(*surface.x_limits, 400), np.linspace(*surface.y_limits, 400)
    )
    assert surface(*grid).min() >= surface.lowest
    for minimum in surface.minima:
        assert surface(*minimum) == pytest.approx(surface.lowest, abs=1e-12)
    assert set(surface.rates) == set(CONTESTANTS)


@pytest.fixture(scope="module")
def races():
    """All optimizers at each surface's own rates."""
    return [race(surface, num_steps=100) for surface in SURFACES.values()]


def test_on_its_own_rates_every_optimizer_gets_lower_on_every_surface(races):
    for result in races:
        for name, losses in result.losses.items():
            assert losses[-1] < losses[0], (result.surface.name, name)
            assert (losses <= losses[0]).all(), (result.surface.name, name)


def test_steps_to_counts_from_where_it_stays():
    surface = quadratic(1.0)
    result = race(surface, {"a": keras.optimizers.SGD(0.5)}, 10)
    # The loss is 1, 1/4, 1/16, …
    assert result.steps_to(0.1) == {"a": 2}
    assert result.steps_to(2.0) == {"a": 0}
    assert result.steps_to(1e-9) == {"a": None}


def test_the_convergence_factor_is_that_of_the_steps():
    # The distance is 1, 1/2, 1/4, …
    result = race(quadratic(1.0, (1.0, 0.0)), {"a": keras.optimizers.SGD(0.5)}, 60)
    factor = result.convergence_factor("a", nearest=1e-12, farthest=1e-3)
    assert factor == pytest.approx(0.5, rel=1e-6)
    with pytest.raises(ValueError, match="must have at least three steps between"):
        result.convergence_factor("a", farthest=1e-29)


@pytest.mark.parametrize("name", ["gradient descent", "momentum"])
@pytest.mark.parametrize("kappa", [100.0, 1000.0])
def test_convergence_is_as_theory_says(kappa, name):
    measured, theory, _ = benchmark.measure_factor(kappa, name)
    assert measured == pytest.approx(theory, rel=0.03)
    # The factors are close to 1, where 3 % is much; their logarithms tell more.
    assert np.log(measured) == pytest.approx(np.log(theory), rel=0.03)


def test_pictures(races):
    assert to_png(plot_races(races)).startswith(b"\x89PNG")
    gif = animate_races(races, num_frames=6)
    with Image.open(io.BytesIO(gif)) as image:
        assert image.n_frames == 6
        assert image.info["loop"] == 0
    assert 'src="data:image/gif;base64,' in show(gif, "Ten lines run downhill.").data
    with pytest.raises(ValueError, match="`races` must be a list of races of equally"):
        animate_races([races[0], race(quadratic(2.0), SGD, 5)])
    with pytest.raises(ValueError, match="`num_frames` must be >= 2"):
        animate_races(races, num_frames=1)


SGD = {"a": keras.optimizers.SGD(0.1, momentum=0.5)}


def test_whoever_leaves_the_plane_is_drawn_as_far_as_it_goes():
    result = race(SURFACES["Beale"], {"too fast": keras.optimizers.SGD(10.0)}, 20)
    assert not np.isfinite(result.losses["too fast"][-1])
    assert result.steps_to(0.1) == {"too fast": None}
    assert animate_races([result], num_frames=3)


def test_every_optimizer_is_explained_with_its_rule_in_two_sentences():
    page = explain()._repr_html_()
    for one in CONTESTANTS.values():
        assert one.text.count(". ") == 1
        assert one.text.endswith(".")
        assert f'<td style="text-align:left">{one.name}</td>' in page
    assert "Muon" not in str(explain(["Adam"]))
    with pytest.raises(ValueError, match="`name` must be one of"):
        explain(["Nadam"])


def test_a_whole_number_is_a_rate_too():
    # Keras refuses the int: SGD(learning_rate=1) raises ValueError.
    assert float(CONTESTANTS["gradient descent"].make(1).learning_rate) == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizers": {}}, "`optimizers` must be a dict"),
        ({"optimizers": SGD, "num_steps": 0}, "`num_steps` must be an int >= 1"),
        ({"optimizers": SGD, "live": {"b": {}}}, "`live` must name optimizers among"),
        (
            {"optimizers": SGD, "live": {"a": {"speed": [1.0]}}},
            "a has no `speed`",
        ),
        (
            {"optimizers": SGD, "live": {"a": {"momentum": [0.1]}}},
            "`live` must hold one number per step, 200",
        ),
        (
            {
                "optimizers": {"a": keras.optimizers.SGD(0.1)},
                "live": {"a": {"momentum": [0.1] * 200}},
            },
            "`live` must change a number that is not 0",
        ),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        race(quadratic(2.0), **arguments)


def test_a_bowl_needs_a_condition_number():
    with pytest.raises(ValueError, match="`kappa` must be >= 1"):
        quadratic(0.5)
