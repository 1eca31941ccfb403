"""The console script: what it writes, what it refuses, and how it says so."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import magnitude_ae as mag
from magnitude_ae.cli import app, main, read_table, tables, write_table
from magnitude_ae.reproduce import figures, results

runner = CliRunner()


def run(*arguments):
    "The result of a command that should work."
    command, *others = arguments
    result = runner.invoke(app, [*command.split(), *map(str, others)])
    assert result.exit_code == 0, result.output
    return result


def shell(*arguments, cwd=None):
    command = [
        sys.executable,
        "-c",
        "from magnitude_ae.cli import main; main()",
        *map(str, arguments),
    ]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


@pytest.fixture
def points():
    return mag.datasets.disc(40, radius=3.0, random_state=0)


@pytest.fixture
def disc(tmp_path, points):
    "A CSV file with the points."
    path = tmp_path / "disc.csv"
    pd.DataFrame(points, columns=["x", "y"]).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    "name, header",
    [("p.csv", True), ("p.csv", False), ("p.tsv", True), ("p.npy", False), ("p.txt", False)],
)
def test_tables_are_read_with_and_without_a_header(tmp_path, points, name, header):
    path = tmp_path / name
    if name.endswith(".npy"):
        np.save(path, points)
    else:
        separator = {"csv": ",", "tsv": "\t", "txt": " "}[name[-3:]]
        pd.DataFrame(points, columns=["x", "y"]).to_csv(
            path, index=False, header=header, sep=separator
        )
    np.testing.assert_allclose(np.asarray(read_table(path)), points, rtol=1e-12)


@pytest.mark.parametrize("ending", ["csv", "tsv", "npy"])
def test_the_weighting_is_written_row_for_row(tmp_path, points, ending):
    source, out = tmp_path / "p.csv", tmp_path / f"w.{ending}"
    pd.DataFrame(points).to_csv(source, index=False)
    result = runner.invoke(app, ["weighting", str(source), "--scale", "1.5", "--out", str(out)])
    assert result.exit_code == 0, result.output
    written = np.load(out) if ending == "npy" else read_table(out)["weighting"]
    np.testing.assert_allclose(written, mag.weighting(points, 1.5), rtol=1e-9)


def test_without_out_the_weighting_goes_to_standard_output_alone(tmp_path, points):
    source = tmp_path / "p.csv"
    pd.DataFrame(points).to_csv(source, index=False)
    done = shell("weighting", source)
    assert done.returncode == 0
    assert "magnitude" in done.stderr
    assert len(done.stdout.splitlines()) == 41


def test_distances_are_taken_as_such(tmp_path, points):
    source = tmp_path / "d.npy"
    np.save(source, mag.distance_matrix(points))
    result = runner.invoke(
        app,
        [
            "weighting",
            str(source),
            "--scale",
            "1",
            "--metric",
            "precomputed",
            "--out",
            str(tmp_path / "w.npy"),
        ],
    )
    assert result.exit_code == 0
    np.testing.assert_allclose(np.load(tmp_path / "w.npy"), mag.weighting(points), rtol=1e-8)


def test_fit_writes_an_embedding_or_a_model(tmp_path, points):
    source = tmp_path / "p.csv"
    pd.DataFrame(points).to_csv(source, index=False)
    for out in ("e.csv", "m.safetensors"):
        result = runner.invoke(
            app,
            [
                "fit",
                str(source),
                "--out",
                str(tmp_path / out),
                "--scale",
                "1",
                "--epochs",
                "2",
                "--seed",
                "3",
            ],
        )
        assert result.exit_code == 0, result.output
    model = mag.MagnitudeAutoencoder.load(tmp_path / "m.safetensors")
    np.testing.assert_allclose(
        pd.read_csv(tmp_path / "e.csv").to_numpy(), model.transform(points), rtol=1e-6
    )


COMMANDS = {  # the arguments after the file, for a quick run
    "weighting": [],
    "magnitude": ["--scale", "1"],
    "boundary score": ["--scale", "1"],
    "fit": ["--scale", "1", "--epochs", "1"],
}


@pytest.fixture
def model(tmp_path, disc):
    path = tmp_path / "model.safetensors"
    run("fit", disc, "--out", path, "--scale", 1, "--epochs", 1, "--seed", 0)
    return path


def test_an_existing_file_is_replaced_only_by_force(tmp_path, disc):
    out = tmp_path / "w.csv"
    out.write_text("precious")
    refused = shell("weighting", disc, "--out", out)
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert out.read_text() == "precious"
    assert shell("weighting", disc, "--out", out, "--force").returncode == 0
    assert out.read_text() != "precious"


@pytest.mark.parametrize("command", [*COMMANDS, "transform"])
def test_every_command_refuses_to_overwrite(tmp_path, disc, model, command):
    out = tmp_path / "out.csv"
    out.write_text("precious")
    arguments = [
        *command.split(),
        *([model] if command == "transform" else []),
        disc,
        *COMMANDS.get(command, []),
        "--out",
        out,
    ]
    refused = runner.invoke(app, [str(argument) for argument in arguments])
    assert isinstance(refused.exception, FileExistsError)
    assert out.read_text() == "precious"
    run(*arguments, "--force")
    assert len(pd.read_csv(out)) == (1 if command == "magnitude" else 40)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "disc.csv",
        "model.safetensors",
        "out.csv",
    ]


@pytest.mark.parametrize("ending", ["csv", "npy", "safetensors"])
def test_a_failure_while_writing_harms_nothing(tmp_path, disc, monkeypatch, ending):
    "Whatever fails, at whatever point: the old file stays, and nothing else is left."
    out = tmp_path / f"out.{ending}"
    out.write_text("precious")

    def full(*arguments, **options):
        if not os.path.exists(arguments[0]):
            open(arguments[0], "w").close()
        raise OSError("no space left on device")

    for owner, name in (
        (np, "save"),
        (pd.DataFrame, "to_csv"),
        (mag.MagnitudeAutoencoder, "save"),
        (os, "replace"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(
                owner,
                name,
                (lambda self, path, **options: full(path)) if isinstance(owner, type) else full,
            )
            result = runner.invoke(
                app,
                ["fit", str(disc), "--out", str(out), "--scale", "1", "--epochs", "1", "--force"],
            )
        assert (result.exit_code == 0) == (out.read_bytes() != b"precious")
        out.write_text("precious")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["disc.csv", out.name]
        assert result.exit_code or name != "replace"


# What the commands compute


def test_magnitudes_at_some_scales_and_along_the_curve(tmp_path, disc, points):
    table = pd.read_csv(io.StringIO(run("magnitude", disc, "--scale", 0.5, "--scale", 2).stdout))
    np.testing.assert_allclose(table["magnitude"], mag.magnitude(points, [0.5, 2.0]), rtol=1e-9)
    run("magnitude", disc, "--curve", "--out", tmp_path / "curve.csv")
    curve = pd.read_csv(tmp_path / "curve.csv")
    assert len(curve) == 50
    assert curve["magnitude"].is_monotonic_increasing
    assert curve["magnitude"].iloc[-1] > 30
    chosen = json.loads(run("magnitude", disc, "--json").stdout)
    assert chosen["scale"] == pytest.approx([mag.choose_scale(points)], rel=1e-9)
    assert isinstance(
        runner.invoke(app, ["magnitude", str(disc), "--curve", "--scale", "1"]).exception,
        ValueError,
    )


def test_a_pole_is_an_empty_cell_and_null(tmp_path):
    "The space K(3,2) has no magnitude at log √2: its determinant is 0 there."
    D = 2.0 * (1 - np.eye(5))
    D[:3, 3:] = D[3:, :3] = 1
    np.save(tmp_path / "d.npy", D)
    arguments = (
        "magnitude",
        tmp_path / "d.npy",
        "--metric",
        "precomputed",
        "--scale",
        float(np.log(2) / 2),
        "--scale",
        "1",
    )
    done = shell(*arguments, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["magnitude"][0] is None
    assert "magnitude-ae: warning: no magnitude at scale" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert pd.read_csv(io.StringIO(shell(*arguments).stdout))["magnitude"].isna().tolist() == [
        True,
        False,
    ]


def test_the_boundary_is_that_of_the_detector(tmp_path, disc, points):
    run(
        "boundary score",
        disc,
        "--scale",
        "outliers",
        "--contamination",
        "0.25",
        "--out",
        tmp_path / "b.csv",
    )
    table, detector = (
        pd.read_csv(tmp_path / "b.csv"),
        mag.BoundaryDetector("outliers", contamination=0.25).fit(points),
    )
    np.testing.assert_allclose(table["score"], detector.score_samples(points), rtol=1e-9)
    np.testing.assert_array_equal(table["inside"], detector.predict(points))
    said = json.loads(
        run(
            "boundary score", disc, "--exact", "--contamination", "auto", "--scale", "0.5", "--json"
        ).stdout
    )
    assert said["threshold"] == -0.5
    assert said["scale"] == 0.5
    assert len(said["score"]) == 40


def test_new_points_are_scored_by_the_old(tmp_path, disc):
    detector = tmp_path / "d.safetensors"
    fitted = json.loads(run("boundary fit", disc, "--out", detector, "--json").stdout)
    assert fitted["n_points"] == 40
    (tmp_path / "new.csv").write_text("label,y,x\nmiddle,0,0\nfar,0,99\n")
    by = ("--model", detector, "--json")
    said = json.loads(run("boundary score", tmp_path / "new.csv", *by).stdout)
    assert said["inside"] == [1, -1]
    assert said["n_points"] == 2
    assert said["n_outside"] == 1
    assert said["threshold"] == fitted["threshold"]
    for columns in ([], ["--columns", "x,y"]):
        again = json.loads(run("boundary score", tmp_path / "new.csv", *columns, *by).stdout)
        assert again == said


def test_a_fit_leaves_an_old_detector_alone_unless_forced(tmp_path, disc):
    detector = tmp_path / "d.safetensors"
    run("boundary fit", disc, "--out", detector)
    before = detector.read_bytes()
    done = shell("boundary", "fit", disc, "--out", detector, "--scale", "2")
    assert done.returncode == 1
    assert "--force" in done.stderr
    assert detector.read_bytes() == before
    run("boundary fit", disc, "--out", detector, "--scale", "2", "--force")
    assert mag.BoundaryDetector.load(detector).scale_ == 2


def test_a_model_transforms_what_it_was_trained_on_and_new_rows(tmp_path, disc, points, model):
    loaded = mag.MagnitudeAutoencoder.load(model)
    run("transform", model, disc, "--out", tmp_path / "e.npy")
    np.testing.assert_allclose(np.load(tmp_path / "e.npy"), loaded.embedding_, atol=1e-6)
    (tmp_path / "new.tsv").write_text("name\ty\tx\nsomebody\t1.5\t-1\n")
    said = json.loads(run("transform", model, tmp_path / "new.tsv", "--json").stdout)
    np.testing.assert_allclose(
        [[said["x1"][0], said["x2"][0]]],
        loaded.transform(pd.DataFrame({"x": [-1.0], "y": [1.5]})),
        atol=1e-6,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_json_is_one_object_on_standard_output(tmp_path, disc, command):
    out = tmp_path / "o.csv"
    result = run(command, disc, *COMMANDS[command], "--json", "--out", out)
    said = json.loads(result.stdout)
    assert said["n_points"] == 40
    assert said["out"] == str(out)
    assert out.exists()
    assert result.stderr == ""


@pytest.mark.parametrize("command", ["weighting", "magnitude", "boundary score"])
def test_columns_can_be_chosen(tmp_path, disc, points, command):
    frame = pd.DataFrame(
        {"id": [f"p{k}" for k in range(40)], "y": points[:, 1], "x": points[:, 0], "class": 1}
    )
    frame.to_csv(tmp_path / "more.csv", index=False)
    np.save(tmp_path / "more.npy", np.c_[np.ones(40), points])
    expected = pd.read_csv(io.StringIO(run(command, disc, *COMMANDS[command]).stdout))
    for name, columns in (
        ("more.csv", "x, y"),
        ("more.npy", "1,2"),
    ):  # arrays may lie differently in memory: the last digit is free
        table = pd.read_csv(
            io.StringIO(
                run(command, tmp_path / name, *COMMANDS[command], "--columns", columns).stdout
            )
        )
        pd.testing.assert_frame_equal(table, expected, rtol=1e-9)


@pytest.mark.parametrize(
    "columns, words",
    [
        ("z", "no column(s) z; it has x, y"),
        ("x,,y", "no column(s)"),
        ("0,1", "no column(s) 0, 1; it has x, y"),
    ],
)
def test_columns_that_are_not_there(disc, columns, words):
    with pytest.raises(ValueError, match="no column") as caught:
        read_table(disc, columns.split(","))
    assert words in str(caught.value)


def test_a_file_without_the_columns_of_the_model(tmp_path, model):
    (tmp_path / "new.csv").write_text("x,z\n1,2\n")
    done = shell("transform", model, tmp_path / "new.csv")
    assert done.returncode == 1
    assert "has no column(s) y; it has x, z" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# Parquet


def test_parquet_in_and_out(tmp_path, points):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(points, columns=["x", "y"]).assign(name="p")
    frame.to_parquet(tmp_path / "p.parquet")
    run(
        "weighting",
        tmp_path / "p.parquet",
        "--columns",
        "x,y",
        "--scale",
        1,
        "--out",
        tmp_path / "w.parquet",
    )
    written = pd.read_parquet(tmp_path / "w.parquet")
    assert list(written) == ["weighting"]
    np.testing.assert_allclose(written["weighting"], mag.weighting(points), rtol=1e-9)
    (tmp_path / "bad.parquet").write_text("not parquet")
    with pytest.raises(ValueError, match="cannot be read as .parquet"):
        read_table(tmp_path / "bad.parquet")


def test_without_pyarrow_parquet_is_refused_in_words(tmp_path, disc, monkeypatch):
    monkeypatch.setattr(tables, "find_spec", lambda name: None)
    (tmp_path / "p.parquet").write_text("")
    for arguments in (
        ["weighting", str(tmp_path / "p.parquet")],
        ["weighting", str(disc), "--out", str(tmp_path / "w.parquet")],
    ):
        result = runner.invoke(app, arguments)
        assert isinstance(result.exception, ValueError)
        assert "pip install pyarrow" in str(result.exception)


# What cannot be used


@pytest.mark.parametrize(
    "text, words",
    [
        ("name,x\nada,1\n", "text in column(s) name, such as 'ada'"),
        ("x,y\n1,2\n3,n.a.\n", "text in column(s) y, such as 'n.a.'"),  # one cell spoils the column
        ("", "empty"),
        ("x,y\n", "empty"),
        ("x,y\n1,2\n1,\n", "NaN or nothing in 1 row(s), first in row 2"),
        ("x,y\n1,2\n1,inf\n", "infinity"),
        ("x,y\n1,2\n1,2,3,4\n", "cannot be read"),
        ("\x00\x01\x02", ""),
    ],
)
@pytest.mark.parametrize("command", ["weighting", "boundary score"])
def test_files_that_cannot_be_used_get_one_line(
    tmp_path, monkeypatch, capsys, text, words, command
):
    path = tmp_path / "p.csv"
    path.write_text(text)
    monkeypatch.setattr(sys, "argv", ["magnitude-ae", *command.split(), str(path), "--scale", "1"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert words in said.err
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert said.err.startswith("magnitude-ae: ")


@pytest.mark.parametrize(
    "array, words",
    [
        (np.ones(3), "shape (3,)"),
        (np.ones((2, 2, 2)), "shape (2, 2, 2)"),
        (np.array([["a", "b"]]), "text in column(s) 0, 1"),
        (np.ones((0, 2)), "empty"),
        (np.full((3, 2), np.nan), "3 row(s), first in row 1"),
    ],
)
def test_arrays_that_are_no_tables(tmp_path, array, words):
    np.save(tmp_path / "p.npy", array)
    with pytest.raises(ValueError) as caught:
        read_table(tmp_path / "p.npy")
    assert words in str(caught.value)


def test_objects_in_npy_are_not_loaded(tmp_path):
    np.save(tmp_path / "p.npy", np.array([[print, 1]], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot be read"):
        read_table(tmp_path / "p.npy")


@pytest.mark.parametrize(
    "arguments, status",
    [
        (("weighting", "missing.csv"), 1),
        (("weighting", "missing.csv", "--scale", "-1"), 1),
        (("fit", "missing.csv"), 2),  # --out is missing
        (("fit", "missing.csv", "--out", "m.pickle"), 1),
        (("transform", "missing.safetensors", "missing.csv"), 1),
        (("transform", "missing.safetensors"), 2),
        (("boundary", "score", "missing.csv", "--out", "nowhere/b.csv"), 1),
        (("magnitude", "missing.csv", "--scale", "large"), 2),
        (("reproduce", "everything"), 2),
        (("dance",), 2),
    ],
)
def test_wrong_calls_have_a_status_and_no_traceback(tmp_path, arguments, status):
    done = shell(*arguments, cwd=tmp_path)
    assert done.returncode == status
    assert done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_version_is_told():
    assert runner.invoke(app, ["--version"]).output.strip() == f"magnitude-ae {mag.__version__}"


def test_a_failed_write_leaves_nothing(tmp_path):
    class Unwritable:
        def __str__(self):
            raise RuntimeError("no text for this")

    with pytest.raises(RuntimeError, match="no text"):
        write_table(pd.DataFrame([[Unwritable()]]), tmp_path / "w.csv")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_runs(monkeypatch):
    monkeypatch.setattr(figures, "FAST", {"n_points": 60, "max_epochs": 3})


def forbidden(*_, **__):
    raise AssertionError("an experiment was run")


def test_reproduce_makes_a_picture_and_a_table_and_does_not_repeat_itself(
    tmp_path, monkeypatch, small_runs
):
    first = run("reproduce", "shapes", "--fast", "--out", tmp_path / "made")
    table = pd.read_csv(tmp_path / "made" / "table.csv")
    assert len(table) == 9
    assert (tmp_path / "made" / "figure2.png").stat().st_size > 10_000
    monkeypatch.setattr(results, "run", forbidden)
    assert run("reproduce", "shapes", "--fast", "--out", tmp_path / "made").stdout == first.stdout


def test_reproduce_says_when_an_older_version_made_the_results(tmp_path, small_runs):
    said = run("reproduce", "shapes", "--fast", "--out", tmp_path).stdout
    assert "made by version" not in said
    path = tmp_path / "ball-default-seed0-n60-epochs3.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": "0.0.9"}))
    said = run("reproduce", "shapes", "--fast", "--out", tmp_path).stdout
    assert f"made by version 0.0.9, and this is {mag.__version__}" in said
    assert "--out" in said
