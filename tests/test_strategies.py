"""Plans and how they are carried out: phases, predictor and corrector, optimisers, cells."""

import copy
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import magnitude_ae as mag
from magnitude_ae.architectures import (
    Autoencoder,
    ConvolutionalAutoencoder,
    LinearAutoencoder,
    calibrate,
)
from magnitude_ae.batches import ALL, BATCHES, Cloud, Latents, cut_cells, halo
from magnitude_ae.random import draws_from
from magnitude_ae.strategies import Phase, default_coefficient, default_strategy
from magnitude_ae.training import Training, loop, make_optimizers, train

POINTS = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
TARGET = mag.weighting(POINTS, 1.0)


def small(seed=0, n_components=2, **kwargs):
    with draws_from(seeded(seed)):
        return LinearAutoencoder(
            3, n_components, **{"width": 8, "n_hidden": 2, **kwargs}
        ).fit_units(POINTS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def training(module=None, points=POINTS, **kwargs):
    module = small() if module is None else module
    return Training(module, Cloud(points, 1.0), **{"progress": False, **kwargs})


def quick(strategy, **settings):
    return mag.MagnitudeAutoencoder(
        **{"scale": 1.0, "strategy": strategy, "progress": False, "random_state": 0, **settings}
    )


def cells(n_epochs=3, batch_size=15, halo=5, **kwargs):
    return Phase(
        "cells",
        n_epochs,
        batch_size,
        "cells",
        halo,
        **{"weighting_coefficient": 1.0, "learning_rate": 1e-3, "relative": False, **kwargs},
    )


SHORT = mag.Cells(2, 20, n_epochs=3, cell_size=15, halo=5)
TURNS = mag.PredictorCorrector(2, batch_size=20)


# ---- the phases of every strategy


def plan(strategy, coefficient=10.0, **settings):
    return [
        (p.name, p.n_epochs, p.batch_size, p.learning_rate, p.weighting_coefficient)
        for p in strategy.phases(coefficient, **settings)
    ]


LONGER = {"learning_rate": 0.5, "max_epochs": 9}
EVERYTHING = {**LONGER, "batch_size": 7}
PLANS = [
    (mag.Joint(), {}, [("joint", 700, None, 3e-2, 10.0)]),
    (mag.Joint(5, 0.1), {}, [("joint", 5, None, 0.1, 10.0)]),
    (mag.Joint(), LONGER, [("joint", 9, None, 0.5, 10.0)]),
    (mag.Joint.report(), {}, [("joint", 400, None, 1e-2, 10.0)]),
    (mag.Joint.report(194), {"learning_rate": 0.5}, [("joint", 194, None, 0.5, 10.0)]),
    (mag.BurnIn(), {}, [("burn-in", 100, 100, 1e-2, 0.0), ("joint", 700, None, 3e-2, 10.0)]),
    (mag.BurnIn(), EVERYTHING, [("burn-in", 100, 7, 1e-2, 0.0), ("joint", 9, None, 0.5, 10.0)]),
    (mag.BurnIn.report(), {}, [("burn-in", 5, 100, 1e-3, 0.0), ("joint", 100, None, 1e-3, 10.0)]),
    (
        mag.BurnIn.report(46),
        {"max_epochs": 9},
        [("burn-in", 5, 100, 1e-3, 0.0), ("joint", 9, None, 1e-3, 10.0)],
    ),
    (
        mag.PredictorCorrector(3),
        {},
        [("predictor", 1, 100, 1e-2, 0.0), ("corrector", 1, None, 1e-2, 10.0)] * 3,
    ),
    (
        mag.PredictorCorrector(),
        EVERYTHING,
        [("predictor", 1, 7, 0.5, 0.0), ("corrector", 1, None, 0.5, 10.0)] * 4,
    ),
    (
        mag.PredictorCorrector(9, 2, 3, 50),
        {"max_epochs": 14},
        [("predictor", 2, 50, 1e-2, 0.0), ("corrector", 3, None, 1e-2, 10.0)] * 2,
    ),
    (
        mag.PredictorCorrector(9, 2, 3, 50),
        {"max_epochs": 5},
        [("predictor", 2, 50, 1e-2, 0.0), ("corrector", 3, None, 1e-2, 10.0)],
    ),
    (mag.Cells(), {}, [("burn-in", 100, 100, 1e-2, 0.0), ("cells", 150, 600, 3e-3, 10.0)]),
    (
        mag.Cells(cell_size=300, halo=99),
        EVERYTHING,
        [("burn-in", 100, 100, 1e-2, 0.0), ("cells", 9, 7, 0.5, 10.0)],
    ),
]


@pytest.mark.parametrize("strategy, settings, expected", PLANS, ids=range(len(PLANS)))
def test_the_phases_of_a_strategy(strategy, settings, expected):
    assert plan(strategy, **settings) == expected
    assert plan(strategy, 3.0, **settings) == [(*row[:4], row[4] and 3.0) for row in expected]


def test_what_a_strategy_says_reaches_its_phases():
    joint = mag.Joint(
        boost=4.0,
        smoothing=0.2,
        schedule="constant",
        clip_norm=3.0,
        weight_decay=0.1,
        keep="best",
        optimizer="adam",
    )
    names = ("boost", "smoothing", "schedule", "clip_norm", "weight_decay", "keep", "optimizer")
    for phase in (joint.phases(1.0)[0], mag.BurnIn(joint=joint).phases(1.0)[1]):
        assert {name: getattr(phase, name) for name in names} == {
            name: getattr(joint, name) for name in names
        }
    corrector = mag.PredictorCorrector(optimizer="muon").phases(1.0)[1]
    assert (
        corrector.reconstruction_coefficient == 0
        and corrector.schedule == "constant"
        and corrector.optimizer == "muon"
    )
    of_cells = mag.Cells(halo=9, smoothing=0.3, clip_norm=None, optimizer="adam").phases(1.0)[1]
    assert (
        of_cells.batches,
        of_cells.halo,
        of_cells.smoothing,
        of_cells.clip_norm,
        of_cells.optimizer,
    ) == ("cells", 9, 0.3, None, "adam")
    assert {
        phase.batches
        for strategy in (mag.BurnIn(), mag.PredictorCorrector())
        for phase in strategy.phases(1.0)
    } == {"shuffled"}


def test_the_recipe_of_the_report():
    "Section 3.2: Adam, weight decay 1e-5; its code kept the epoch with the lowest loss."
    for phase in (*mag.Joint.report().phases(5.0), mag.BurnIn.report().phases(5.0)[1]):
        assert (
            phase.optimizer,
            phase.schedule,
            phase.clip_norm,
            phase.weight_decay,
            phase.keep,
            phase.smoothing,
            phase.boost,
        ) == ("adam", "constant", None, 1e-5, "best", 0.0, 1.0)


def test_the_default_strategy():
    """Subsets for any network; about as many steps for many points as for few."""
    own = (nn.Linear(3, 2), nn.Linear(2, 3))
    assert default_strategy("linear", 1000) == default_strategy(own, 1000) == mag.Subsets()
    few, many = (default_strategy("linear", n).phases(1.0)[0] for n in (1000, 20_000))
    assert few.n_epochs * 2 == many.n_epochs * 40
    burn_in, then = default_strategy("deep", 3000).phases(1.0)
    assert burn_in.weighting_coefficient == 0
    assert then.batches == "subsets"
    assert then.learning_rate < few.learning_rate
    assert default_strategy("convolutional", 3000).phases(1.0)[1].batch_size is None
    assert default_coefficient("deep") < default_coefficient("linear") == default_coefficient(own)


@pytest.mark.parametrize(
    "strategy",
    [mag.Joint(), mag.BurnIn(), mag.PredictorCorrector(), mag.Cells(), mag.Subsets()],
    ids=lambda s: type(s).__name__,
)
def test_plans_are_values(strategy):
    assert strategy.phases(2.0) == copy.deepcopy(strategy).phases(2.0) and hash(strategy) == hash(
        copy.deepcopy(strategy)
    )
    with pytest.raises(AttributeError):
        strategy.learning_rate = 1.0


def test_the_estimator_hands_its_settings_to_the_strategy():
    model = quick(
        mag.BurnIn(2), learning_rate=1e-3, max_epochs=4, batch_size=10, weighting_coefficient=3.0
    ).fit(POINTS)
    assert model.history_["phase"] == ["burn-in"] * 2 + ["joint"] * 4
    assert max(model.history_["learning_rate"][2:]) <= 1e-3 and set(
        model.history_["weighting_coefficient"]
    ) == {0.0, 3.0}


# ---- what is refused


NO_USE = [
    (mag.Joint(), {"batch_size": 7}, "batch_size is 7, but Joint.*all points.*mag.BurnIn"),
    (mag.Joint.report(), {"batch_size": 7}, "batch_size is 7, but Joint"),
    (
        mag.PredictorCorrector(9, 2, 3),
        {"max_epochs": 4},
        "max_epochs must be at least 5, not 4: a round has 5 epochs",
    ),
]


@pytest.mark.parametrize("strategy, settings, words", NO_USE, ids=["batch", "report", "rounds"])
def test_settings_that_a_strategy_cannot_use_are_refused(strategy, settings, words):
    "They were ignored: who asked for batches got none, who asked for one epoch got five."
    with pytest.raises(ValueError, match=words):
        strategy.phases(10.0, **settings)
    with pytest.raises(ValueError, match=words):
        quick(strategy, **settings).fit(POINTS)


@pytest.mark.parametrize("setting", ["learning_rate", "max_epochs", "batch_size"])
@pytest.mark.parametrize(
    "strategy",
    [mag.Joint(), mag.BurnIn(), mag.PredictorCorrector(), mag.Cells(), mag.Subsets()],
    ids=lambda s: type(s).__name__,
)
def test_a_setting_is_used_or_refused(strategy, setting):
    "Never ignored: the plan is another one, or there is none."
    try:
        changed = strategy.phases(10.0, **{setting: 6})
    except ValueError as error:
        assert setting in str(error)
    else:
        assert changed != strategy.phases(10.0)


WRONG_NUMBERS = {
    "n_epochs": (0, -1, 2.5, True),
    "batch_size": (0, -3, 2.5),
    "halo": (-1, 0.5),
    "reconstruction_coefficient": (-1.0, np.nan),
    "weighting_coefficient": (-1.0, np.inf),
    "boost": (0, -2.0),
    "smoothing": (-0.1,),
    "learning_rate": (0.0, np.nan, "fast"),
    "clip_norm": (0.0, -1.0),
    "weight_decay": (-0.1,),
}


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in WRONG_NUMBERS.items() for value in values]
)
def test_numbers_that_make_no_sense(name, value):
    """A cell of no size cannot be cut, a λ that starts below zero has complex powers.

    Each was once found out in the middle of training.
    """
    with pytest.raises((ValueError, TypeError), match=f"phase 'mine': {name} must be"):
        Phase("mine", **{"n_epochs": 3, name: value})


@pytest.mark.parametrize(
    "name, value, known",
    [
        ("optimizer", "sgd", "'adam', 'muon'"),
        ("schedule", "linear", "'cosine', 'constant'"),
        ("keep", "first", "'last', 'best'"),
        ("batches", "cell", "'shuffled', 'subsets', 'cells'"),
    ],
)
def test_choices_that_are_not_known(name, value, known):
    with pytest.raises(
        ValueError, match=f"phase 'mine': {name} '{value}' is not known; choose one of {known}"
    ):
        Phase("mine", 3, **{name: value})


def test_a_corrector_with_nothing_to_do():
    for call in (
        lambda: mag.PredictorCorrector().phases(0.0),
        lambda: quick(TURNS, weighting_coefficient=0.0).fit(POINTS),
    ):
        with pytest.raises(ValueError, match="weighting_coefficient is 0.*corrector.*BurnIn"):
            call()
    assert [p.weighting_coefficient for p in mag.BurnIn().phases(0.0)] == [0.0, 0.0], (
        "the others are autoencoders without weighting loss"
    )


IMPOSSIBLE = [
    ([], ValueError, "no phases"),
    ([Phase("a", 1), "joint"], TypeError, "Phase objects, not 'joint'"),
    (
        [Phase("a", 1), Phase("mine", 1, batches="subsets", weighting_coefficient=1.0)],
        ValueError,
        "'mine'.*subsets of no size; set batch_size",
    ),
    (
        [Phase("a", 1), Phase("mine", 1, batches="cells", weighting_coefficient=1.0)],
        ValueError,
        "'mine'.*cells of no size; set batch_size",
    ),
    (
        [Phase("a", 1), Phase("mine", 1, reconstruction_coefficient=0.0)],
        ValueError,
        "'mine' minimises nothing; give it a coefficient",
    ),
]


@pytest.mark.parametrize(
    "phases, kind, words",
    IMPOSSIBLE,
    ids=["none", "a word", "subsets without size", "cells without size", "nothing"],
)
def test_a_plan_that_cannot_be_carried_out_is_refused_before_the_first_step(phases, kind, words):
    module = small()
    before = copy.deepcopy(module.state_dict())
    state = training(module)
    with pytest.raises(kind, match=words):
        train(state, phases)
    assert state.epoch == 0 and all(
        torch.equal(before[name], value) for name, value in module.state_dict().items()
    )


def test_a_single_point_cannot_be_normalised():
    with pytest.raises(ValueError, match="single row.*at least two"):
        train(training(points=POINTS[:1]), [Phase("a", 1)])


# ---- predictor and corrector


def watch(strategy, monkeypatch, module=None, **kwargs):
    "For every epoch of a plan: its phase, the parameters, and how many weightings were computed."
    solved, rows = [], []
    plain = loop.weighting

    def counted(*args, **settings):
        solved.append(1)
        return plain(*args, **settings)

    monkeypatch.setattr(loop, "weighting", counted)

    def snapshot(state):
        rows.append(
            (
                state.history["phase"][-1],
                {k: v.detach().clone() for k, v in state.module.named_parameters()},
                len(solved),
            )
        )

    done = train(training(module, callbacks=[snapshot], **kwargs), strategy.phases(1.0))
    return done, rows


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_the_corrector_moves_the_encoder_alone_and_the_predictor_weighs_nothing(
    monkeypatch, optimizer
):
    done, rows = watch(mag.PredictorCorrector(3, 2, 1, 20, optimizer=optimizer), monkeypatch)
    assert [name for name, *_ in rows] == ["predictor", "predictor", "corrector"] * 3
    assert [solved for *_, solved in rows] == [0, 0, 1, 1, 1, 2, 2, 2, 3], (
        "one weighting for each epoch of the corrector"
    )
    for (_, before, _), (name, after, _) in zip(rows[:-1], rows[1:], strict=True):
        moved = {
            part: any(not torch.equal(before[k], after[k]) for k in after if k.startswith(part))
            for part in ("encoder", "decoder")
        }
        assert moved == {"encoder": True, "decoder": name == "predictor"}
    column = np.array(done.history["weighting_loss"])
    assert (
        np.isnan(column.reshape(3, 3)[:, :2]).all()
        and np.isfinite(column.reshape(3, 3)[:, 2]).all()
    )
    assert np.isfinite(done.history["reconstruction_loss"]).all(), (
        "the corrector tells the reconstruction loss, although it ignores it"
    )


def test_the_corrector_lowers_the_weighting_loss_alone():
    """A corrector by itself and a joint phase, from the same network.

    Both lower the weighting loss, one the reconstruction too.
    """
    common = {"weighting_coefficient": 1.0, "learning_rate": 1e-2}
    only, both = (
        train(
            training(small(batch_norm=False)),
            [Phase("a", 100, reconstruction_coefficient=c, **common)],
        ).history
        for c in (0.0, 1.0)
    )
    assert all(
        history["weighting_loss"][-1] < 0.75 * history["weighting_loss"][0]
        for history in (only, both)
    )
    assert (
        both["reconstruction_loss"][-1] < 0.5 * both["reconstruction_loss"][0]
        and only["reconstruction_loss"][-1] > 0.9 * only["reconstruction_loss"][0]
    )


def test_optimisers_stay_with_the_name_of_their_phase():
    seen = []

    def look(state):
        name = state.history["phase"][-1]
        (adam,) = state.optimizers[name]
        steps = {int(value["step"]) for value in adam.state.values() if "step" in value}
        seen.append((name, id(adam), steps))

    done = train(training(callbacks=[look]), mag.PredictorCorrector(3, 2, 1, 20).phases(1.0))
    assert len({identity for name, identity, _ in seen if name == "predictor"}) == 1
    assert {identity for name, identity, _ in seen if name == "predictor"}.isdisjoint(
        {identity for name, identity, _ in seen if name == "corrector"}
    )
    assert [steps for name, _, steps in seen if name == "predictor"] == [
        {2 * k} for k in range(1, 7)
    ], "two batches an epoch, two epochs a round, three rounds"
    assert [steps for name, _, steps in seen if name == "corrector"] == [{1}, {2}, {3}]
    assert set(done.optimizers) == {"predictor", "corrector"}


def test_phases_of_other_names_begin_afresh():
    phases = [Phase("one", 2), Phase("two", 2)]
    fresh = train(training(), phases)
    (one,), (two,) = (fresh.optimizers[name] for name in ("one", "two"))
    assert one is not two and {int(s["step"]) for s in two.state.values()} == {2}


def test_the_weight_of_the_reconstruction():
    "It scales the gradient, with the weighting loss and without."
    norms = [
        train(
            training(batch), [Phase("a", 1, reconstruction_coefficient=c, clip_norm=None)]
        ).history["gradient_norm"][0]
        for c in (1.0, 0.25)
        for batch in [small()]
    ]
    assert norms[1] == pytest.approx(norms[0] / 4, rel=1e-5)
    plain, halved = (
        train(
            training(small()),
            [Phase("a", 1, reconstruction_coefficient=c, weighting_coefficient=c, clip_norm=None)],
        ).history
        for c in (1.0, 0.5)
    )
    assert halved["gradient_norm"][0] == pytest.approx(plain["gradient_norm"][0] / 2, rel=1e-4)
    assert halved["reconstruction_loss"][0] == pytest.approx(
        plain["reconstruction_loss"][0], rel=1e-6
    ), "what is told is the plain loss"


# ---- λ that falls


@pytest.mark.parametrize("boost", [1.0, 4.0, 0.25, 100.0])
def test_the_boost_falls_to_one_in_the_middle(boost):
    phase = Phase("joint", 10, weighting_coefficient=3.0, boost=boost)
    assert phase.coefficient_at(0.0) == pytest.approx(3 * boost) and phase.coefficient_at(
        0.25
    ) == pytest.approx(3 * boost**0.5)
    assert [phase.coefficient_at(p) for p in (0.5, 0.75, 1.0)] == [3.0] * 3
    steps = np.diff(np.log([phase.coefficient_at(p) for p in np.linspace(0, 0.5, 11)]))
    np.testing.assert_allclose(
        steps, -np.log(boost) / 10, atol=1e-12
    )  # by equal factors in equal times


def test_training_follows_the_boost():
    plan = Phase("joint", 8, weighting_coefficient=2.0, boost=16.0, relative=False)
    done = train(training(), [plan])
    assert_close(
        torch.tensor(done.history["weighting_coefficient"]),
        torch.tensor([2 * 16**0.75, 2 * 16**0.5, 2 * 16**0.25, 2.0, 2.0, 2.0, 2.0, 2.0]),
    )
    columns = ("reconstruction_loss", "weighting_loss", "weighting_coefficient")
    rows = zip(*(done.history[column] for column in columns), strict=True)
    expected = [
        reconstructed + coefficient * weighted for reconstructed, weighted, coefficient in rows
    ]
    assert done.history["total_loss"] == pytest.approx(expected)


# ---- Muon's share


def hidden_names(module):
    "Linear layers that are neither the first nor the last with a matrix in encoder or decoder."
    names = []
    for part in ("encoder", "decoder"):
        weighted = [
            (f"{part}.{name}.weight", layer)
            for name, layer in getattr(module, part).named_modules()
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
        ]
        names += [name for name, layer in weighted[1:-1] if isinstance(layer, nn.Linear)]
    return names


MODULES = {
    "linear": lambda: LinearAutoencoder(3),
    "of width 64": lambda: LinearAutoencoder(64, 64),
    "no normalisation": lambda: LinearAutoencoder(3, batch_norm=False),
    "convolutional": lambda: ConvolutionalAutoencoder(400),
    "shallow": lambda: Autoencoder(nn.Linear(3, 2), nn.Linear(2, 3)),
    "one hidden layer": lambda: LinearAutoencoder(3, n_hidden=1),
}


@pytest.mark.parametrize("name", MODULES)
def test_muon_takes_the_hidden_matrices_and_adam_the_rest(name):
    module = MODULES[name]()
    names = {id(parameter): key for key, parameter in module.named_parameters()}
    found = {
        type(o).__name__: [names[id(p)] for group in o.param_groups for p in group["params"]]
        for o in make_optimizers(module, Phase("joint", 1, optimizer="muon"))
    }
    expected = hidden_names(module)
    assert len(expected) == {"convolutional": 5, "shallow": 0, "one hidden layer": 0}.get(name, 10)
    assert found.get("Muon", []) == expected
    assert sorted(found["Adam"] + expected) == sorted(names.values()), (
        "every parameter has one optimiser"
    )


def test_adam_alone_takes_everything():
    module = LinearAutoencoder(3)
    (only,) = make_optimizers(module, Phase("joint", 1, weight_decay=0.1))
    assert (
        type(only) is torch.optim.Adam
        and len(only.param_groups[0]["params"]) == len(list(module.parameters()))
        and only.param_groups[0]["weight_decay"] == 0.1
    )


# ---- cutting cells


CLOUDS = {
    "normal": lambda n, k: torch.randn(n, k, generator=seeded(n)),
    "all equal": lambda n, k: torch.ones(n, k),
    "copies": lambda n, k: torch.arange(n)[:, None]
    .div(4, rounding_mode="floor")
    .float()
    .expand(n, k),
    "a line": lambda n, k: torch.arange(n)[:, None].float() * torch.eye(k)[0],
    "huge": lambda n, k: 1e15 * torch.randn(n, k, generator=seeded(n)),
}


@given(
    n=st.integers(1, 80),
    size=st.integers(1, 90),
    k=st.integers(1, 3),
    cloud=st.sampled_from(sorted(CLOUDS)),
    seed=st.integers(0, 99),
)
def test_cells_part_the_points(n, size, k, cloud, seed):
    latent = CLOUDS[cloud](n, k)
    cut, again = (cut_cells(latent, size, seeded(seed)) for _ in range(2))
    assert sorted(torch.cat(cut).tolist()) == list(range(n)), "every point is in one cell"
    assert all(1 <= len(rows) <= size for rows in cut)
    assert all(torch.equal(a, b) for a, b in zip(cut, again, strict=True)), (
        "the same seed cuts the same cells"
    )
    assert len(cut) == 1 or n > size


def test_cells_are_cut_elsewhere_every_time():
    generator = seeded()
    latent = CLOUDS["normal"](200, 2)
    one, two = (
        {tuple(sorted(rows.tolist())) for rows in cut_cells(latent, 50, generator)}
        for _ in range(2)
    )
    assert one.isdisjoint(two)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_cells_are_neighbours(k):
    "Two of the cell are nearer than two of the whole."
    latent = CLOUDS["normal"](400, k)
    within = np.mean([torch.pdist(latent[rows]).mean() for rows in cut_cells(latent, 50, seeded())])
    assert within < 0.75 * torch.pdist(latent).mean()


@given(
    n=st.integers(2, 60),
    inside=st.integers(1, 60),
    size=st.integers(0, 70),
    k=st.integers(1, 3),
    cloud=st.sampled_from(sorted(CLOUDS)),
)
def test_a_halo_is_what_lies_nearest(n, inside, size, k, cloud):
    latent = CLOUDS[cloud](n, k)
    rows = torch.randperm(n, generator=seeded(1))[:inside]
    found = halo(latent, rows, size)
    outside = sorted(set(range(n)) - set(rows.tolist()))
    assert len(found) == min(size, len(outside))
    assert len(set(found.tolist())) == len(found)
    assert set(found.tolist()) <= set(outside)
    if len(found):
        distance = torch.cdist(
            latent.double(), latent[rows].double(), compute_mode="donot_use_mm_for_euclid_dist"
        ).amin(1)
        assert_close(distance[found].sort().values, distance[outside].sort().values[: len(found)])


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("size", [1, 15, 40, 41])
def test_every_kind_of_batches_parts_the_points(name, size):
    """Each point once an epoch; by the generator alone, whatever the default.

    Cells have the weights of the whole, other batches those among themselves.
    """
    kind = BATCHES[name]
    phase = Phase("mine", 1, size, name, weighting_coefficient=1.0)
    state = training()

    def parted():
        latents = Latents(lambda points: points[:, :2], Cloud(POINTS, 1.0))
        parts = kind.parts(len(POINTS), phase, latents, seeded(3))
        batches = [kind.batch(state.cloud, rows, phase, latents) for rows in parts]
        return torch.cat([torch.arange(40)[rows] for rows in parts]), batches

    def wanted(batch):
        if name == "cells" or len(batch.points) == len(POINTS):
            rows = [(point == POINTS).all(1).nonzero().item() for point in batch.points]
            return TARGET[rows]
        return mag.weighting(batch.points, 1.0)

    numbers, batches = parted()
    assert sorted(numbers.tolist()) == list(range(40))
    least = 2 if name == "subsets" else 1
    assert max(len(batch.points) for batch in batches) <= max(least, size, 2 * size - 1)
    assert_close(torch.cat([batch.points for batch in batches]), POINTS[numbers])
    for batch in batches:
        assert_close(batch.input_weighting, wanted(batch), rtol=1e-4, atol=1e-5)
    before = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        again, _ = parted()
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(numbers, again) and torch.equal(before, torch.get_rng_state())


def test_latents_are_computed_when_asked_for_and_then_kept():
    calls = []

    def encode(points):
        calls.append(len(points))
        return points[:, :2]

    latents = Latents(encode, Cloud(POINTS, 1.0))
    latents.update(ALL, POINTS[:, 1:])
    assert calls == []
    assert_close(latents.values(), POINTS[:, :2])
    latents.update(torch.tensor([3, 5]), torch.tensor([[7.0, 7.0], [8.0, 8.0]]))
    latents.values()
    assert calls == [40] and latents.values()[3].tolist() == [7.0, 7.0]


def test_the_loss_of_cells_is_that_of_the_whole():
    "Weighted by their sizes, the losses of the cells add up to that of all points."
    points = 6 * torch.rand(500, 3, generator=seeded())
    module = small(batch_norm=False)
    state = training(module.fit_units(points), points)
    latent = Latents(module.encode, Cloud(points, 1.0)).values()
    phase = cells(batch_size=100)

    def told(rows, around=None):
        losses = loop.batch_losses(state, state.cloud.batch(rows, around), phase, 1.0)
        return losses.reconstruction, losses.weighting, losses.total

    whole = told(ALL)
    cut = cut_cells(latent, 100, seeded())
    sizes = [len(rows) for rows in cut]
    errors = {}
    for size in (0, 30, 100):
        found = [told(rows, latent[halo(latent, rows, size)]) for rows in cut]
        errors[size] = np.abs(np.average(found, axis=0, weights=sizes) / whole - 1)
    assert errors[100][1] < 0.05 and errors[100][1] < errors[30][1] < errors[0][1]
    assert max(error[0] for error in errors.values()) < 1e-5, "the reconstruction needs no halo"


def test_the_weighting_of_a_cell_with_its_halo():
    "Nearly that within the whole; with everything around it, exactly."
    square = 20 * torch.rand(1500, 2, generator=seeded(), dtype=torch.float64)
    whole, cut = mag.weighting(square), cut_cells(square, 300, seeded())
    for size, most in ((150, 0.05), (1500, 1e-9)):
        miss = torch.cat(
            [
                mag.weighting(square[torch.cat([rows, halo(square, rows, size)])])[: len(rows)]
                - whole[rows]
                for rows in cut
            ]
        )
        assert miss.abs().mean() < most * whole.mean()


def test_the_halo_is_held_where_it_is():
    "No gradient reaches the points around a cell: the step moves the cell alone."
    state = training(small(batch_norm=False))
    latent = Latents(state.module.encode, state.cloud).values()
    rows = cut_cells(latent, 15, seeded())[0]
    around = latent[halo(latent, rows, 5)]
    phase = cells(reconstruction_coefficient=0.0)
    losses = loop.batch_losses(state, state.cloud.batch(rows, around), phase, 1.0)
    minimised = losses.minimised
    free = losses.latent.detach().clone().requires_grad_()
    alone = (mag.weighting(torch.cat([free, around]), 1.0)[: len(rows)] - TARGET[rows]).abs().mean()
    assert minimised.item() == pytest.approx(alone.item(), rel=1e-5)
    by_hand = torch.autograd.grad(
        state.module.encode(POINTS[rows]),
        list(state.module.encoder.parameters()),
        torch.autograd.grad(alone, free)[0],
    )
    assert_close(
        torch.autograd.grad(minimised, list(state.module.encoder.parameters())),
        by_hand,
        rtol=1e-3,
        atol=1e-6,
    )


# ---- training on cells


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_cells_in_any_number_of_dimensions(n_components):
    model = quick(SHORT, n_components=n_components).fit(POINTS)
    assert model.embedding_.shape == (40, n_components) and torch.isfinite(model.embedding_).all()
    assert (
        model.history_["phase"] == ["burn-in"] * 2 + ["cells"] * 3
        and model.history_["n_skipped"] == [0] * 5
    )
    assert np.isfinite(model.history_["weighting_loss"][2:]).all()


AWKWARD = {
    "copies": POINTS[:8].repeat(5, 1),
    "all equal": torch.ones(40, 3),
    "two points": POINTS[:2],
    "three points": POINTS[:3],
    "one more than a cell": POINTS[:16],
}


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize(
    "strategy",
    [
        SHORT,
        TURNS,
        mag.Cells(1, 20, n_epochs=2, cell_size=1, halo=3),
        mag.Cells(1, 20, n_epochs=2, cell_size=10, halo=0),
    ],
    ids=["cells", "turns", "tiny", "bare"],
)
def test_awkward_points(name, strategy):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        model = quick(strategy).fit(AWKWARD[name])
    assert (
        torch.isfinite(model.embedding_).all()
        and torch.isfinite(model.inverse_transform(model.embedding_)).all()
    )


@pytest.mark.parametrize("strategy", [SHORT, TURNS], ids=["cells", "turns"])
def test_the_same_seed_again(strategy):
    one, two, other = (quick(strategy, random_state=seed).fit(POINTS) for seed in (0, 0, 1))
    assert torch.equal(one.embedding_, two.embedding_) and not torch.equal(
        one.embedding_, other.embedding_
    )
    for column in set(one.history_) - {"seconds"}:
        np.testing.assert_array_equal(one.history_[column], two.history_[column])


def test_the_seed_of_a_training_cuts_the_cells():
    latents = [train(training(seed=seed), [cells()]).module.encode(POINTS) for seed in (0, 0, 1)]
    assert torch.equal(latents[0], latents[1]) and not torch.equal(latents[0], latents[2])


def test_a_cell_that_holds_everything_is_the_whole():
    """With fewer points than a cell, an epoch is one full batch.

    The losses are those of all points, in the mode in which they are transformed.
    """
    module = small()
    calibrate(module, POINTS)
    expected = copy.deepcopy(module).eval()
    done = train(training(module), [cells(2, batch_size=1000, halo=150, weighting_coefficient=3.0)])
    latent, reconstruction = expected(POINTS)
    weighted, reconstructed = (
        (mag.weighting(latent, 1.0) - TARGET).abs().mean(),
        (reconstruction - POINTS).square().mean(),
    )
    first = {name: column[0] for name, column in done.history.items()}
    assert first["weighting_loss"] == pytest.approx(weighted.item(), rel=1e-4) and first[
        "reconstruction_loss"
    ] == pytest.approx(reconstructed.item(), rel=1e-5)
    assert first["total_loss"] == pytest.approx((reconstructed + 3 * weighted).item(), rel=1e-4)


def statistics(module):
    return [
        buffer.clone()
        for layer in module.modules()
        if isinstance(layer, nn.BatchNorm1d)
        for buffer in (layer.running_mean, layer.running_var)
    ]


def test_statistics_are_frozen_on_cells_and_stay_as_they_were():
    at_start, latents, modes = [], [], []

    def look(state):
        at_start.append(statistics(state.module))
        latents.append(state.module.encode(POINTS).detach())
        modes.append(
            (
                state.module.training,
                {
                    layer.training
                    for layer in state.module.modules()
                    if isinstance(layer, nn.BatchNorm1d)
                },
            )
        )

    done = train(training(callbacks=[look]), [cells(4, learning_rate=3e-2)])
    assert modes == [(True, {False})] * 4
    for now in (*at_start, statistics(done.module)):
        assert all(torch.equal(a, b) for a, b in zip(at_start[0], now, strict=True))
    assert torch.equal(done.module.encode(POINTS), latents[-1]), (
        "what is transformed is what was trained"
    )
    assert not done.module.training and done.progress.frozen
    again = copy.deepcopy(done.module)
    calibrate(again, POINTS)
    assert (again.eval().encode(POINTS) - latents[-1]).abs().max() > 1e-3, (
        "calibrating at the end would have changed it"
    )


def test_statistics_are_those_of_all_points_when_cells_begin():
    first = []
    module = small()
    expected = copy.deepcopy(module)
    calibrate(expected, POINTS)
    train(
        training(module, callbacks=[lambda state: first.append(statistics(state.module))]),
        [cells(1, learning_rate=1e-3)],
    )
    assert all(torch.equal(a, b) for a, b in zip(first[0], statistics(expected), strict=True))


def test_after_cells_a_full_batch_thaws_the_statistics():
    done = train(training(), [cells(2), Phase("joint", 3, weighting_coefficient=1.0)])
    assert not done.progress.frozen
    evaluated = done.module.encode(POINTS)
    assert_close(evaluated, done.module.train().encode(POINTS), rtol=1e-4, atol=1e-4)


def test_cells_train():
    "Both losses fall, as far as on full batches, in fewer epochs."
    points = mag.datasets.disc(200, radius=4.0, random_state=0) @ np.array(
        [[1.0, 0.2, 0.3], [0.1, 1.0, -0.4]]
    )
    by_cells = quick(mag.Cells(10, 50, n_epochs=40, cell_size=60, halo=40, learning_rate=1e-2)).fit(
        points
    )
    losses = by_cells.history_["weighting_loss"][10:]
    assert losses[-1] < 0.5 * losses[0]
    assert np.corrcoef(by_cells.weighting_, by_cells.embedding_weighting_)[0, 1] > 0.9


def test_overflow_on_cells_ends_with_the_last_good_network():
    "The tree of neighbours refused latents that were not finite, in the middle of training."
    wild = cells(40, 20, 5, learning_rate=1e36, schedule="constant", clip_norm=None)
    with pytest.warns(RuntimeWarning, match="20 steps in a row.*last good network"):
        done = train(training(), [wild])
    assert done.stopped == "failed" and torch.isfinite(done.module.encode(POINTS)).all()


def test_an_interrupt_on_cells_keeps_the_result():
    def press(state):
        if state.epoch == 4:
            raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning, match="epoch 4.*interrupted"):
        model = quick(SHORT, callbacks=[press]).fit(POINTS)
    assert (
        model.history_["phase"] == ["burn-in"] * 2 + ["cells"] * 2
        and torch.isfinite(model.embedding_).all()
    )


def test_reconstruction_on_cells_weighs_nothing(monkeypatch):
    monkeypatch.setattr(loop, "weighting", None)  # would fail if it were called
    done = train(training(), [cells(2, weighting_coefficient=0.0)])
    assert np.isnan(done.history["weighting_loss"]).all() and done.history["n_skipped"] == [0, 0]


# ---- files


@pytest.mark.parametrize(
    "strategy",
    [TURNS, SHORT, mag.BurnIn(1, joint=mag.Joint(2, boost=3.0)), mag.Joint.report(2)],
    ids=lambda s: type(s).__name__,
)
def test_round_trip(tmp_path, strategy):
    model = quick(strategy, weighting_coefficient=3.0).fit(POINTS)
    model.save(tmp_path / "m.safetensors")
    back = mag.MagnitudeAutoencoder.load(tmp_path / "m.safetensors")
    assert (
        back.strategy == strategy
        and type(back.strategy) is type(strategy)
        and back.history_["phase"] == model.history_["phase"]
    )
    assert torch.equal(back.transform(POINTS), model.embedding_)
    assert back.strategy.phases(2.0) == strategy.phases(2.0)
    again = quick(back.strategy, weighting_coefficient=back.weighting_coefficient).fit(POINTS)
    assert torch.equal(again.embedding_, model.embedding_), (
        "what was saved is enough to train it again"
    )
