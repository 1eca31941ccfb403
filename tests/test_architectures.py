"""The networks: layers of the report, layers made fast, units of pixels, initial values.

And calibration, images in every container, and an architecture from outside of the package.
"""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

import magnitude_ae as mag
from magnitude_ae.architectures import (
    ARCHITECTURES,
    Autoencoder,
    ConvolutionalAutoencoder,
    FromOnePixel,
    LinearAutoencoder,
    MixChannels,
    build,
    calibrate,
    mlp,
    named,
    outline,
    seeded,
)

IMAGES = np.random.default_rng(0).random((12, 20, 20))


def noise(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def quick(**settings):
    plain = {
        "architecture": "convolutional",
        "scale": 0.5,
        "strategy": mag.Joint(2, learning_rate=1e-3),
        "progress": False,
        "random_state": 0,
    }
    return mag.MagnitudeAutoencoder(**{**plain, **settings})


def convolutional():
    "For images of 20 by 20."
    return seeded(lambda: ConvolutionalAutoencoder(400), 0)


# ---- the report's layers


def layers(module, *kinds):
    return [layer for layer in module.modules() if isinstance(layer, kinds)]


def sizes(layer):
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    assert layer.kernel_size[0] == layer.kernel_size[1]
    assert layer.stride == (1, 1)
    assert not any(layer.padding)
    return layer.in_channels, layer.out_channels, layer.kernel_size[0]


def test_the_layers_of_the_report():
    "Section 3.2: 576-1000-500-250-2-250-500-1000 between convolutions of 9, 9 and 12, 17, 1."
    module = ConvolutionalAutoencoder()
    weighted = nn.Linear, nn.Conv2d, nn.ConvTranspose2d
    assert [sizes(layer) for layer in layers(module.encoder, *weighted)] == [
        (1, 8, 9),
        (8, 4, 9),
        (576, 1000),
        (1000, 500),
        (500, 250),
        (250, 2),
    ]
    assert [sizes(layer) for layer in layers(module.decoder, *weighted)] == [
        (2, 250),
        (250, 500),
        (500, 1000),
        (1000, 4, 12),
        (4, 4, 17),
        (4, 1, 1),
    ]
    assert [type(layer) for layer in layers(module.decoder, nn.ConvTranspose2d, nn.Conv2d)] == [
        FromOnePixel,
        nn.ConvTranspose2d,
        MixChannels,
    ]
    assert isinstance(list(module.decoder)[-1], nn.Tanh), "the decoder ends in Tanh"


@pytest.mark.parametrize("batch_norm", [True, False])
def test_every_hidden_layer_is_activated_and_every_hidden_linear_layer_normalised(batch_norm):
    module = ConvolutionalAutoencoder(batch_norm=batch_norm)
    kinds = nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.SiLU, nn.BatchNorm1d
    for part in (module.encoder, module.decoder):
        order = layers(part, *kinds)
        weighted = [k for k, layer in enumerate(order) if isinstance(layer, kinds[:3])]
        assert weighted[-1] == len(order) - 1
        for k in weighted[:-1]:
            assert isinstance(order[k + 1], nn.SiLU)
            normalised = isinstance(order[k + 2], nn.BatchNorm1d)
            assert normalised == (batch_norm and isinstance(order[k], nn.Linear))


def test_own_activation():
    module = ConvolutionalAutoencoder(400, activation=nn.ELU)
    assert len(layers(module, nn.ELU)) == 5 + 5
    assert not layers(module, nn.SiLU)


# ---- layers made fast


FAST = {
    "one pixel": (FromOnePixel(7, 4, 12), nn.ConvTranspose2d, (5, 7, 1, 1)),
    "mix": (MixChannels(4, 1, 1), nn.Conv2d, (5, 4, 9, 9)),
}


@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
@pytest.mark.parametrize("name", FAST)
def test_fast_layers_are_those_of_torch(name, last):
    layer, own, shape = FAST[name]
    layer = copy.deepcopy(layer).double()
    if last:
        layer = layer.to(memory_format=torch.channels_last)
    images = noise(*shape, dtype=torch.float64).requires_grad_()
    parameters = [images, layer.weight, layer.bias]
    answer, expected = layer(images), own.forward(layer, images)
    assert_close(answer, expected)
    direction = noise(*answer.shape, dtype=torch.float64)
    gradients = [torch.autograd.grad(out, parameters, direction) for out in (answer, expected)]
    assert_close(*gradients)
    assert all(gradient.abs().max() > 0 for gradient in gradients[0])


def test_the_whole_decoder_is_that_of_torch():
    "The same weights in torch's own layers, one after another as the report names them."
    module = seeded(ConvolutionalAutoencoder, 0).double()
    own = nn.Sequential(*copy.deepcopy(list(module.decoder)))
    for k, layer in enumerate(own):
        if isinstance(layer, FromOnePixel | MixChannels):
            kind = nn.ConvTranspose2d if isinstance(layer, FromOnePixel) else nn.Conv2d
            plain = kind(*sizes(layer)).double()
            plain.load_state_dict(layer.state_dict())
            own[k] = plain
    latent = noise(6, 2, dtype=torch.float64)
    assert_close(module.decoder(latent), own(latent))


# ---- sizes


@pytest.mark.parametrize("side", [17, 20, 28, 32])
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_other_images(side, n_components):
    module = build("convolutional", side**2, n_components)
    latent, reconstruction = module(torch.rand(4, side**2))
    assert latent.shape == (4, n_components)
    assert reconstruction.shape == (4, side**2)
    assert sizes(layers(module.encoder, nn.Linear)[0])[0] == 4 * (side - 16) ** 2


@pytest.mark.parametrize("n_features", [1, 3, 256, 783, 785, 28 * 27])
def test_what_is_not_square_or_too_small(n_features):
    words = f"{n_features} columns.*square images of at least 17 by 17.*architecture='linear'"
    for make in (build, outline):
        with pytest.raises(ValueError, match=words):
            make("convolutional", n_features, 2)


# ---- units of pixels


@pytest.mark.parametrize("size, shift", [(255.0, 0.0), (2.0, -1.0), (1e-3, 0.0), (255.0, 10.0)])
def test_pixels_in_other_units(size, shift):
    """From 0 to 1 or from 0 to 255, the network is given the same numbers.

    Latents differ by the factor between the units.
    """
    pixels = torch.from_numpy(IMAGES).flatten(1)
    here, there = (convolutional().double().eval() for _ in range(2))
    here.fit_units(pixels)
    there.fit_units(size * pixels + shift)
    assert_close(there.unit, size * here.unit)
    latent, reconstruction = here(pixels)
    assert_close(there.encode(size * pixels + shift), size * latent)
    assert_close(there.decode(size * latent), size * reconstruction + shift)


def test_the_units_of_pixels_map_their_range_to_that_of_tanh():
    pixels = torch.from_numpy(IMAGES).flatten(1)
    module = ConvolutionalAutoencoder(400).fit_units(pixels)
    inside = (pixels - module.centre) / module.unit
    ends = torch.stack([inside.min(), inside.max()])
    assert_close(ends, torch.tensor([-1.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (0.0, 255.0), (-3.0, -1.0)])
@pytest.mark.parametrize(
    "median, expected",
    [(0.0, 0.02), (0.5, 0.5), (0.7, 0.7), (1.0, 0.98)],
    ids=["black", "grey", "light", "white"],
)
def test_the_decoder_starts_at_the_median_pixel(median, expected, low, high):
    """A channel that says nothing is drawn as the median.

    It lies within Tanh's reach, a fiftieth inside of the range at most.
    """
    pixels = torch.full((5, 400), median)
    pixels[:, 0] = 0.0
    pixels[:, 1] = 1.0
    module = convolutional().fit_units(low + (high - low) * pixels)
    silent = module.centre + module.unit * module.decoder[-3:](torch.zeros(2, 4, 20, 20))
    wanted = torch.full((2, 400), low + (high - low) * expected)
    assert_close(silent, wanted, rtol=1e-5, atol=1e-5 * (high - low))


def test_images_of_one_grey_have_a_unit():
    grey = torch.full((5, 400), 0.3)
    module = ConvolutionalAutoencoder(400).fit_units(grey)
    assert module.unit == 1
    assert torch.isfinite(module(grey)[1]).all()


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (0.0, 255.0), (-1.0, 1.0), (3.0, 4.0)])
def test_reconstructions_stay_within_the_range_of_pixels(low, high):
    "Wherever the latent lies: that is what Tanh and the units are for."
    pixels = low + (high - low) * torch.from_numpy(IMAGES).float().flatten(1)
    module = convolutional().fit_units(pixels)
    back = module.decode(1e3 * (high - low) * noise(200, 2))
    slack = 1e-6 * (high - low) + 1e-6 * abs(low)  # float32 rounds centre + unit * 1
    assert back.min() >= pixels.min() - slack
    assert back.max() <= pixels.max() + slack
    assert back.max() - back.min() > 0.01 * (high - low)


# ---- calibrate


def pair_with_images():
    "A pair of modules with a normalisation of channels, and one of features behind it."
    encoder = nn.Sequential(
        nn.Unflatten(1, (1, 20, 20)),
        nn.Conv2d(1, 3, 5),
        nn.BatchNorm2d(3),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(768, 16),
        nn.BatchNorm1d(16),
        nn.Linear(16, 2),
    )
    return Autoencoder(encoder, nn.Linear(2, 400))


CALIBRATED = {
    "linear": lambda: LinearAutoencoder(400, width=16, n_hidden=3),
    "convolutional": lambda: ConvolutionalAutoencoder(400),
    "2-D": pair_with_images,
}


def norms(module):
    return layers(module, nn.modules.batchnorm._BatchNorm)


@pytest.mark.parametrize("name", CALIBRATED)
def test_calibrated_evaluation_is_full_batch_training(name):
    points = torch.from_numpy(IMAGES).flatten(1)
    module = seeded(CALIBRATED[name], 0).double()
    for layer in norms(module):
        layer.running_mean += 3  # as if other data had been seen
    expected = copy.deepcopy(module).train()(points)
    calibrate(module, points)
    assert_close(module.eval()(points), expected, rtol=1e-9, atol=1e-9)
    one_by_one = torch.cat([module.encode(row[None]) for row in points])
    assert_close(one_by_one, expected[0], rtol=1e-9, atol=1e-9)


def test_calibrate_counts_the_pixels():
    "The variance of a channel divides by n * h * w, not by n."
    points = torch.from_numpy(IMAGES).flatten(1)
    module = seeded(pair_with_images, 0).double()
    calibrate(module, points)
    convolved = module.encoder[:2](points)
    assert_close(module.encoder[2].running_mean, convolved.mean((0, 2, 3)))
    assert_close(module.encoder[2].running_var, convolved.var((0, 2, 3), correction=0))


def test_calibrate_forgets_nan():
    points = torch.from_numpy(IMAGES).flatten(1).float()
    module = seeded(pair_with_images, 0)
    for layer in norms(module):
        layer.running_var.fill_(float("nan"))
    calibrate(module, points)
    assert torch.isfinite(module.eval().encode(points)).all()


class Fails(nn.Module):
    def forward(self, points):
        raise ZeroDivisionError("mine")


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_calibrate_puts_everything_back(fails, training):
    module = seeded(pair_with_images, 0)
    momenta = [0.3, None]
    for layer, momentum in zip(norms(module), momenta, strict=True):
        layer.momentum = momentum
    if fails:
        module.decoder = nn.Sequential(module.decoder, Fails())
    module.train(training)
    before = copy.deepcopy(dict(module.named_parameters()))
    try:
        calibrate(module, torch.from_numpy(IMAGES).flatten(1).float())
    except ZeroDivisionError:
        assert fails
    assert [layer.momentum for layer in norms(module)] == momenta
    assert module.training is training
    assert not any(layer._forward_hooks for layer in norms(module))
    for name, value in module.named_parameters():
        assert torch.equal(before[name], value)
        assert value.grad is None


def test_calibrate_leaves_what_it_cannot_judge():
    "One point has no variance, and a layer without running statistics has none to set."
    module = seeded(pair_with_images, 0)
    before = copy.deepcopy(module.state_dict())
    calibrate(module, torch.rand(1, 400))
    assert_close(dict(module.state_dict()), dict(before), rtol=0, atol=0)
    norm = nn.BatchNorm1d(4, track_running_stats=False)
    encoder = nn.Sequential(nn.Linear(3, 4), norm, nn.Linear(4, 2))
    untracked = Autoencoder(encoder, nn.Linear(2, 3))
    calibrate(untracked, torch.rand(5, 3))
    assert norms(untracked)[0].running_var is None


# ---- copies


@pytest.mark.parametrize("make", CALIBRATED.values(), ids=CALIBRATED)
def test_copies_are_apart(make):
    module = seeded(make, 0).eval()
    twin = copy.deepcopy(module)
    points = torch.from_numpy(IMAGES).flatten(1).float()
    assert_close(twin(points), module(points), rtol=0, atol=0)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert not torch.equal(twin(points)[0], module(points)[0])


def test_a_given_network_is_copied():
    given = convolutional()
    made = build(given, 400, 2)
    assert isinstance(made, ConvolutionalAutoencoder)
    assert made is not given
    for a, b in zip(given.parameters(), made.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a is not b
    before = copy.deepcopy(given.state_dict())
    fitted = quick(architecture=given).fit(IMAGES)
    assert_close(dict(given.state_dict()), dict(before), rtol=0, atol=0)
    assert fitted.image_shape_ == (20, 20), "it takes images as the named one does"


# ---- initial values


def state_of(name, seed):
    return dict(build(name, 400, 2, seed=seed).state_dict())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_seed_gives_the_same_network(name):
    expected = [state_of(name, seed) for seed in range(4)]
    before = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: state_of(name, seed), range(4)))
    assert_close(found, expected, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before)
    first = "encoder.1.weight" if name == "convolutional" else "encoder.0.weight"
    assert not torch.equal(expected[0][first], expected[1][first])


def test_without_a_seed_every_network_is_another_one():
    torch.manual_seed(0)
    one = build("linear", 3, 2)
    torch.manual_seed(0)
    two = build("linear", 3, 2)
    assert not torch.equal(one.encoder[0].weight, two.encoder[0].weight)


class Particular(nn.Module):
    "A layer that sets and draws its values in its own way."

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        nn.init.orthogonal_(self.layer.weight)
        nn.init.constant_(self.layer.bias, 7.0)
        self.drawn = nn.Parameter(torch.randn(3))
        self.register_buffer("given", torch.tensor([0.1, 0.2]))
        self.register_buffer("whole", torch.arange(3))


def test_what_a_network_sets_by_itself_is_kept():
    torch.set_default_dtype(torch.float64)
    try:
        ambient = seeded(Particular, 1)
    finally:
        torch.set_default_dtype(torch.float32)
    layer = seeded(Particular, 1)
    assert_close(dict(ambient.state_dict()), dict(layer.state_dict()), rtol=0, atol=0)
    assert_close(layer.layer.weight @ layer.layer.weight.T, torch.eye(4), rtol=0, atol=1e-6)
    assert (layer.layer.bias == 7).all()
    assert layer.whole.dtype == torch.int64
    assert not torch.equal(layer.drawn, seeded(Particular, 2).drawn)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_outline_has_shapes_and_no_numbers(name):
    before = torch.get_rng_state()
    network = outline(name, 400, 3)
    assert {value.device.type for value in network.state_dict().values()} == {"meta"}
    shapes = [tuple(value.shape) for value in network.state_dict().values()]
    assert shapes == [tuple(value.shape) for value in build(name, 400, 3).state_dict().values()]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("unknown", ["transformer", None, 3, ["linear"], (nn.Linear(3, 2),)])
def test_unknown_architectures_list_the_known(unknown):
    for make in (build, outline, lambda name, *_: named(name)):
        with pytest.raises(ValueError, match="not known; choose one of 'auto', 'linear', 'deep'"):
            make(unknown, 3, 2)


# ---- an architecture from outside of the package


class Shallow(Autoencoder):
    "One hidden layer on each side; a number of features and of components are all it needs."

    def __init__(self, n_features, n_components):
        encoder = mlp((n_features, 16, n_components), nn.Tanh)
        super().__init__(encoder, mlp((n_components, 16, n_features), nn.Tanh))


class ShallowForImages(Shallow):
    "The same for pixels."

    takes_images = True


@pytest.fixture
def added(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "shallow", Shallow)
    monkeypatch.setitem(ARCHITECTURES, "shallow for images", ShallowForImages)


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize(
    "name, points", [("shallow", IMAGES.reshape(12, 400)), ("shallow for images", IMAGES)]
)
def test_an_architecture_from_outside(name, points, tmp_path):
    model = quick(architecture=name).fit(points)
    assert isinstance(model.module_, Shallow)
    assert model.inverse_transform(model.embedding_).shape == points.shape
    np.testing.assert_array_equal(quick(architecture=name).fit_transform(points), model.embedding_)
    model.save(tmp_path / "model")
    loaded = mag.MagnitudeAutoencoder.load(tmp_path / "model")
    assert isinstance(loaded.module_, Shallow)
    np.testing.assert_array_equal(loaded.transform(points), model.embedding_)


@pytest.mark.usefixtures("added")
def test_an_architecture_from_outside_takes_images_only_if_it_says_so():
    with pytest.raises(ValueError, match="two dimensions"):
        quick(architecture="shallow").fit(IMAGES)
    with pytest.raises(ValueError, match="'convolutional', 'shallow'"):
        quick(architecture="deeper").fit(IMAGES.reshape(12, 400))


# ---- the estimator on images


@pytest.fixture(scope="module")
def fitted():
    return quick().fit(IMAGES)


CONTAINERS = {
    "rows": IMAGES.reshape(12, 400),
    "images": IMAGES,
    "channel first": IMAGES[:, None],
    "channel last": IMAGES[..., None],
    "strided": np.asfortranarray(IMAGES),
    "tensor rows": torch.from_numpy(IMAGES).flatten(1),
    "tensor images": torch.from_numpy(IMAGES),
    "tensor channel": torch.from_numpy(IMAGES)[:, None],
    "float32 images": IMAGES.astype(np.float32),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_images_in_images_out(name, fitted):
    given = CONTAINERS[name]
    model = quick().fit(given)
    latent = model.transform(given)
    back = model.inverse_transform(latent)
    assert back.shape == given.shape
    assert latent.shape == (12, 2)
    assert model.n_features_in_ == 400
    for answer in (latent, back, model.embedding_, model.weighting_):
        assert type(answer) is type(given)
        assert answer.dtype == given.dtype
    single = name == "float32 images"  # its input is rounded, and training amplifies that
    slack = (1e-2 if single else 1e-9) * np.abs(fitted.embedding_).max()
    np.testing.assert_allclose(latent, fitted.embedding_, rtol=0, atol=slack)
    expected = mag.weighting(IMAGES.reshape(12, 400), 0.5)
    np.testing.assert_allclose(model.weighting_, expected, rtol=1e-5)
    assert back.min() >= given.min() - 1e-6
    assert back.max() <= given.max() + 1e-6


def test_new_images_may_come_as_rows(fitted):
    np.testing.assert_array_equal(fitted.transform(IMAGES.reshape(12, 400)), fitted.embedding_)
    tensor = torch.from_numpy(IMAGES)[:, None]
    np.testing.assert_array_equal(fitted.transform(tensor), fitted.embedding_)
    with pytest.raises(ValueError, match="324 features.*400"):
        fitted.transform(IMAGES[:, :18, :18])


@pytest.mark.parametrize(
    "shape",
    [
        (12, 10, 40),
        (12, 4, 10, 10),
        (12, 1, 1, 400),
        (12, 3, 20, 20),
        (12, 20, 20, 3),
        (12, 2, 2, 10, 10),
    ],
)
def test_images_that_are_not_square_or_have_colours(shape, fitted):
    "Many have a square number of pixels, and would be taken for images that they are not."
    wrong = np.zeros(shape)
    for call in (quick().fit, fitted.transform):
        with pytest.raises(ValueError, match="square images in one channel"):
            call(wrong)


def test_the_linear_architecture_takes_no_images():
    with pytest.raises(ValueError, match="two dimensions"):
        quick(architecture="linear").fit(IMAGES)


def test_double_precision_is_computed(fitted):
    double = fitted.transform(IMAGES)
    single = fitted.transform(IMAGES.astype(np.float32))
    assert (double.dtype, single.dtype) == (np.float64, np.float32)
    assert np.abs(double - single).max() > 0
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-4 * np.abs(double).max())
    one_by_one = np.vstack([fitted.transform(image[None]) for image in IMAGES])
    np.testing.assert_allclose(one_by_one, double, rtol=0, atol=1e-11 * np.abs(double).max())
    assert fitted.module_.unit.dtype == torch.float32


def test_transform_differentiates_in_images(fitted):
    images = torch.from_numpy(IMAGES).requires_grad_()
    (gradient,) = torch.autograd.grad(fitted.transform(images).sum(), images)
    assert gradient.shape == images.shape
    assert (gradient.abs().amax((1, 2)) > 0).all()


@pytest.mark.parametrize("name", ["rows", "images", "tensor channel"])
def test_round_trip_of_a_convolutional_model(tmp_path, name):
    given = CONTAINERS[name]
    model = quick().fit(given)
    model.save(tmp_path / "m.safetensors")
    back = mag.MagnitudeAutoencoder.load(tmp_path / "m.safetensors")
    assert isinstance(back.module_, ConvolutionalAutoencoder)
    assert not back.module_.training
    for call, argument in (("transform", given), ("inverse_transform", model.embedding_)):
        ours = getattr(model, call)(argument)
        theirs = getattr(back, call)(argument)
        assert type(ours) is type(theirs)
        assert ours.shape == theirs.shape
        np.testing.assert_array_equal(ours, theirs)
    assert back.inverse_transform(back.embedding_).shape == given.shape


def test_the_default_recipe_of_images():
    def stop(training):
        return training.epoch == 1

    model = quick(strategy=None, max_epochs=1, callbacks=[stop]).fit(IMAGES)
    assert model.history_["phase"] == ["burn-in"]
    assert max(model.history_["learning_rate"]) <= 1e-3
