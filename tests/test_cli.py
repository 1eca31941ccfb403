"""The console script: what it writes, what it refuses, and how it says so."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import magnitude_ae as mag
from magnitude_ae.cli import app, read_table, write_table

runner = CliRunner()


def shell(*arguments, cwd=None):
    command = [sys.executable, "-c", "from magnitude_ae.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.fixture
def points():
    return mag.datasets.disc(40, radius=3.0, random_state=0)


@pytest.mark.parametrize("name, header", [("p.csv", True), ("p.csv", False), ("p.tsv", True), ("p.npy", False), ("p.txt", False)])
def test_tables_are_read_with_and_without_a_header(tmp_path, points, name, header):
    path = tmp_path / name
    if name.endswith(".npy"):
        np.save(path, points)
    else:
        separator = {"csv": ",", "tsv": "\t", "txt": " "}[name[-3:]]
        pd.DataFrame(points, columns=["x", "y"]).to_csv(path, index=False, header=header, sep=separator)
    np.testing.assert_allclose(np.asarray(read_table(path)), points, rtol=1e-12)


@pytest.mark.parametrize("ending", ["csv", "tsv", "npy"])
def test_the_weighting_is_written_row_for_row(tmp_path, points, ending):
    source, out = tmp_path / "p.csv", tmp_path / f"w.{ending}"
    pd.DataFrame(points).to_csv(source, index=False)
    result = runner.invoke(app, ["weighting", str(source), "--scale", "1.5", "--out", str(out)])
    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(np.asarray(read_table(out)).ravel(), mag.weighting(points, 1.5), rtol=1e-9)


def test_without_out_the_weighting_goes_to_standard_output_alone(tmp_path, points):
    source = tmp_path / "p.csv"
    pd.DataFrame(points).to_csv(source, index=False)
    done = shell("weighting", source)
    assert done.returncode == 0 and "magnitude" in done.stderr
    assert len(done.stdout.splitlines()) == 41


def test_distances_are_taken_as_such(tmp_path, points):
    source = tmp_path / "d.npy"
    np.save(source, mag.distance_matrix(points))
    result = runner.invoke(app, ["weighting", str(source), "--scale", "1", "--metric", "precomputed", "--out", str(tmp_path / "w.npy")])
    assert result.exit_code == 0
    np.testing.assert_allclose(np.load(tmp_path / "w.npy"), mag.weighting(points), rtol=1e-8)


def test_fit_writes_an_embedding_or_a_model(tmp_path, points):
    source = tmp_path / "p.csv"
    pd.DataFrame(points).to_csv(source, index=False)
    for out in ("e.csv", "m.safetensors"):
        result = runner.invoke(app, ["fit", str(source), "--out", str(tmp_path / out), "--scale", "1", "--epochs", "2", "--seed", "3"])
        assert result.exit_code == 0, result.output
    model = mag.MagnitudeAutoencoder.load(tmp_path / "m.safetensors")
    np.testing.assert_allclose(pd.read_csv(tmp_path / "e.csv").to_numpy(), model.transform(points), rtol=1e-6)


def test_an_existing_file_is_replaced_only_by_force(tmp_path, points):
    source, out = tmp_path / "p.csv", tmp_path / "w.csv"
    pd.DataFrame(points).to_csv(source, index=False)
    out.write_text("precious")
    refused = shell("weighting", source, "--out", out)
    assert refused.returncode == 1 and "--force" in refused.stderr and out.read_text() == "precious"
    assert shell("weighting", source, "--out", out, "--force").returncode == 0
    assert out.read_text() != "precious"


@pytest.mark.parametrize("text, words", [
    ("name,x\nada,1\n", "name"),       # a column of text
    ("", "empty"),                      # nothing
    ("x,y\n1,2\n1,\n", "NaN"),          # a hole
])
def test_files_that_cannot_be_used_get_one_line(tmp_path, text, words):
    path = tmp_path / "p.csv"
    path.write_text(text)
    done = shell("weighting", path, "--scale", "1")
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("arguments, status", [
    (("weighting", "missing.csv"), 1),
    (("weighting", "missing.csv", "--scale", "-1"), 1),
    (("fit", "missing.csv"), 2),                       # --out is missing
    (("fit", "missing.csv", "--out", "m.pickle"), 1),
    (("reproduce", "everything"), 2),
    (("dance",), 2),
])
def test_wrong_calls_have_a_status_and_no_traceback(tmp_path, arguments, status):
    done = shell(*arguments, cwd=tmp_path)
    assert done.returncode == status and done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_version_is_told():
    assert runner.invoke(app, ["--version"]).output.strip() == f"magnitude-ae {mag.__version__}"


def test_a_failed_write_leaves_nothing(tmp_path):
    class Unwritable:
        pass
    with pytest.raises(Exception):
        write_table(Unwritable(), ["x"], tmp_path / "w.csv")
    assert not list(tmp_path.iterdir())


def test_reproduce_makes_a_picture_and_a_table_and_does_not_repeat_itself(tmp_path, monkeypatch):
    from magnitude_ae import reproduce

    small = {"n_points": 60, "max_epochs": 3}
    monkeypatch.setattr(reproduce, "FAST", small)
    first = runner.invoke(app, ["reproduce", "shapes", "--fast", "--out", str(tmp_path / "made")])
    assert first.exit_code == 0, first.output
    table = pd.read_csv(tmp_path / "made" / "table.csv")
    assert len(table) == 9 and (tmp_path / "made" / "figure2.png").stat().st_size > 10_000
    monkeypatch.setattr(reproduce, "run", None)  # would fail if anything were run again
    assert runner.invoke(app, ["reproduce", "shapes", "--fast", "--out", str(tmp_path / "made")]).exit_code == 0
