"""meshdisent neutralize, transfer, interpolate and sample, as they are called."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent import editing
from meshdisent.cli.main import main
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.topology import Topology


@pytest.fixture(scope="module")
def scans():
    return small_faces.scans()


@pytest.fixture(scope="module")
def model(scans):
    return small_faces.linear(scans)


@pytest.fixture(scope="module")
def job(scans, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("verbs")
    scans.save(folder / "faces.h5")
    model.save(folder / "run" / "model.safetensors")
    for row, name in ((66, "anna/smile.ply"), (72, "ben/grin.obj")):
        (folder / name).parent.mkdir()
        Mesh(scans.vertices(np.array([row]))[0].astype(np.float64), scans.topology.faces).write(folder / name)
    return folder


@pytest.fixture(autouse=True)
def in_job(job, monkeypatch):
    monkeypatch.chdir(job)
    monkeypatch.setenv("MESHDISENT_RENDERER", "software")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def read(folder, names):
    return np.stack([Mesh.read(folder / name).vertices for name in names])


def made(meshes):
    return np.stack([mesh.vertices for mesh in meshes])


def files(folder):
    return sorted(path.name for path in folder.iterdir())


NEUTRALIZE = ["neutralize", "run", "anna/smile.ply", "faces.h5:s14/frown"]


@pytest.mark.parametrize("keep", [[], ["--keep-detail"]])
def test_neutralize_writes_a_neutral_for_each_scan(tmp_path, model, scans, capsys, keep):
    out = tmp_path / "out"
    assert main([*NEUTRALIZE, "--out", str(out), *keep]) == 0
    assert files(out) == ["s14-frown-neutral.ply", "sheet.png", "smile-neutral.ply"]
    shown = scans.vertices(np.array([66, 73]))
    expected = made(editing.neutralize(model, shown, keep_detail=bool(keep)))
    assert read(out, ["smile-neutral.ply", "s14-frown-neutral.ply"]) == pytest.approx(expected, abs=1e-3)
    assert capsys.readouterr().out == f"{out}: 2 meshes (ply), sheet.png\n"


@pytest.mark.parametrize("verb", ["neutralize", "transfer"])
def test_a_sheet_says_who_is_who_and_how_many_are_left_out(tmp_path, scans, monkeypatch, verb):
    results = []
    monkeypatch.setattr(f"meshdisent.cli.{verb}.write_result", lambda result, given: results.append(result))
    shown = [f"faces.h5:{subject}/smile" for subject in scans.subjects[:9]]
    # A file is called after its expression: "neutral" beside the row of an open mouth would say something else.
    given = ["--identity", "anna/smile.ply", "--expression", *shown] if verb == "transfer" else shown
    assert main([verb, "run", *given, "--out", str(tmp_path / "out")]) == 0
    (result,) = results
    assert (
        result.row_labels == {"neutralize": ["scan", "neutral"], "transfer": ["the expression", "on the person"]}[verb]
    )
    assert result.title == "8 of 9"
    assert len(result.meshes) == 9


def test_transfer_writes_the_person_with_each_expression(tmp_path, model, scans):
    out = tmp_path / "out"
    shown = ["ben/grin.obj", "faces.h5:s15/jaw_left"]
    assert main(["transfer", "run", "--identity", "anna/smile.ply", "--expression", *shown, "--out", str(out)]) == 0
    assert files(out) == ["sheet.png", "smile-as-grin.ply", "smile-as-s15-jaw_left.ply"]
    expected = made(editing.transfer(model, scans.vertices(np.array([66])), scans.vertices(np.array([72, 79]))))
    assert read(out, ["smile-as-grin.ply", "smile-as-s15-jaw_left.ply"]) == pytest.approx(expected, abs=1e-3)


@pytest.fixture(scope="module")
def sequence(job):
    """Twelve frames of s13 in the files 1.ply to 12.ply, and in a dataset with frame numbers."""
    frames = np.stack([small_faces.PEOPLE[13] + k / 11 * small_faces.displacement(13, 1) for k in range(12)])
    for k, frame in enumerate(frames, start=1):
        Mesh(frame, small_faces.FACES).write(job / "walk" / f"{k}.ply")
    from meshdisent.data.dataset import ScanDataset

    order = np.random.default_rng(0).permutation(12)
    ScanDataset.from_arrays(
        frames[order], small_faces.FACES, ["ben"] * 12, ["smile"] * 12, frame=[int(k) + 1 for k in order],
        template=small_faces.TEMPLATE,
    ).save(job / "frames.h5")  # fmt: skip
    return frames.astype(np.float32)


@pytest.mark.parametrize(
    ("text", "name"), [("walk", "walk"), ("walk/*.ply", "walk"), ("frames.h5:ben/smile", "ben-smile")]
)
def test_a_sequence_is_transferred_in_the_order_of_time(tmp_path, model, scans, sequence, text, name):
    out = tmp_path / "out"
    command = ["transfer", "run", "--identity", "anna/smile.ply", "--expression", text, "--smooth", "1.5"]
    assert main([*command, "--out", str(out), "--no-pictures"]) == 0
    names = [f"smile-as-{name}-{k:04d}.ply" for k in range(12)]
    assert files(out) == names
    expected = made(editing.transfer(model, scans.vertices(np.array([66])), sequence, smooth=1.5))
    assert read(out, names) == pytest.approx(expected, abs=1e-3)


def test_a_sequence_is_drawn_as_an_animation_that_does_not_run_back(tmp_path, sequence):
    from PIL import Image

    out = tmp_path / "out"
    command = ["transfer", "run", "--identity", "anna/smile.ply", "--expression", "walk/1[02].ply", "--strength", "3"]
    assert main([*command, "--out", str(out)]) == 0
    assert files(out) == ["animation.gif", "sheet.png", "smile-as-1-0000.ply", "smile-as-1-0001.ply"]
    with Image.open(out / "animation.gif") as animation:
        assert animation.n_frames == 2


@pytest.mark.parametrize("method", editing.METHODS)
def test_each_method_is_that_of_the_library_and_the_leak_of_all_is_told(tmp_path, model, scans, capsys, method):
    import json

    shown = ["ben/grin.obj", "faces.h5:s15/jaw_left"]
    command = ["transfer", "run", "--identity", "anna/smile.ply", "--expression", *shown, "--method", method]
    command += ["--strength", "0.7", "--no-pictures", "--json", str(tmp_path / "numbers.json")]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    person, others = scans.vertices(np.array([66])), scans.vertices(np.array([72, 79]))
    expected = made(editing.METHODS[method](model, person, others, strength=0.7))
    assert read(tmp_path / "out", ["smile-as-grin.ply", "smile-as-s15-jaw_left.ply"]) == pytest.approx(
        expected, abs=1e-3
    )
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert list(numbers["identity_leak"]) == list(editing.METHODS)
    leak = editing.identity_leak(model, list(expected.astype(np.float32)), person, list(others))
    assert numbers["identity_leak"][method]["share"] == pytest.approx(leak["share"], abs=1e-3)
    assert (numbers["method"], numbers["results"], numbers["left_out"]) == (method, 2, 0)
    assert "identity leak (0 % the person, 100 % who made the expression): codes " in capsys.readouterr().out


def test_neutrals_may_be_given_for_displacements(tmp_path, scans):
    out = tmp_path / "out"
    command = ["transfer", "run", "--identity", "anna/smile.ply", "--expression", "ben/grin.obj", "--method", "delta"]
    neutrals = ["--neutral", "faces.h5:s13/neutral", "--others-neutral", "faces.h5:s14/neutral"]
    assert main([*command, *neutrals, "--out", str(out), "--no-pictures"]) == 0
    anna, ben, grin = scans.vertices(np.array([65, 70, 72]))
    assert read(out, ["smile-as-grin.ply"])[0] == pytest.approx(anna + grin - ben, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--neutral", "anna/smile.ply"], 2, "--neutral and --others-neutral belong to displacements; give --method"),
        (["--method", "delta", "--keep-detail"], 2, "--keep-detail belongs to --method codes"),
        (["--expression", "anna"], 0, ""),
        (["--expression", "empty"], 3, "empty has no mesh; wanted files that end in"),
        (["--expression", "anna/*.stl"], 3, "has no mesh; wanted files that end in"),
        (["--expression", "faces.h5:s14/gryn"], 3, "Did you mean 's14/grin'"),
    ],
)
def test_options_of_transfer_that_cannot_work_are_refused(tmp_path, capsys, options, code, message):
    Path("empty").mkdir(exist_ok=True)
    given = ["transfer", "run", "--identity", "anna/smile.ply", "--expression", "ben/grin.obj", *options]
    assert main([*given, "--out", str(tmp_path / "out"), "--no-pictures"]) == code
    assert message in capsys.readouterr().err


def test_json_on_standard_output_is_all_that_is_there(tmp_path, capsys):
    import json

    command = ["transfer", "run", "--identity", "anna/smile.ply", "--expression", "ben/grin.obj", "--json", "-"]
    assert main([*command, "--out", str(tmp_path / "out"), "--no-pictures"]) == 0
    assert json.loads(capsys.readouterr().out)["results"] == 1


def test_interpolate_writes_the_steps_and_an_animation(tmp_path, model, scans, capsys):
    from PIL import Image

    out = tmp_path / "out"
    command = ["interpolate", "run", "anna/smile.ply", "ben/grin.obj", "--out", str(out), "--steps", "3"]
    assert main([*command, "--only", "expression", "--format", "obj"]) == 0
    assert files(out) == ["0000.obj", "0001.obj", "0002.obj", "animation.gif", "sheet.png"]
    first, second = scans.vertices(np.array([66, 72]))
    expected = made(editing.interpolate(model, first, second, 3, "expression"))
    assert read(out, ["0000.obj", "0001.obj", "0002.obj"]) == pytest.approx(expected, abs=1e-3)
    with Image.open(out / "animation.gif") as animation:
        assert animation.n_frames == 4  # there and back again
    assert capsys.readouterr().out == f"{out}: 3 meshes (obj), sheet.png, animation.gif\n"


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ([], {}),
        (["--seed", "3", "--spread", "0.5"], {"seed": 3, "spread": 0.5}),
        (["--identity", "anna/smile.ply"], {"identity": 66}),
        (["--expression", "faces.h5:s14/grin"], {"expression": 72}),
        (["--expression", "neutral"], {"expression": "neutral"}),
    ],
)
def test_sample_writes_what_the_function_draws(tmp_path, model, scans, options, settings):
    out = tmp_path / "out"
    assert main(["sample", "run", "--out", str(out), "--count", "3", "--no-pictures", *options]) == 0
    assert files(out) == ["0000.ply", "0001.ply", "0002.ply"]
    known = {k: scans.vertices(np.array([v])) if k in ("identity", "expression") and v != "neutral" else v
             for k, v in settings.items()}  # fmt: skip
    assert read(out, files(out)) == pytest.approx(made(editing.sample(model, 3, **known)), abs=1e-3)


@pytest.fixture(scope="module")
def named(scans, job):
    """A model file with two expressions under names, one of them the name of a file."""
    model = small_faces.linear(scans)
    model.named_expressions = {"jawOpen": torch.tensor([1.5, -0.5]), "grin.ply": torch.tensor([0.0, 4.0])}
    model.save(job / "named.safetensors")
    return model


@pytest.mark.parametrize("name", ["jawOpen", "grin.ply"])
def test_sample_takes_a_name_before_it_is_tried_as_a_scan(tmp_path, named, name):
    Mesh(small_faces.PEOPLE[0], small_faces.FACES).write("grin.ply", overwrite=True)
    out = tmp_path / "out"
    command = ["sample", "named.safetensors", "--expression", name, "--count", "2", "--no-pictures"]
    assert main([*command, "--out", str(out)]) == 0
    expected = made(editing.sample(named, 2, expression=name))
    assert read(out, files(out)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("run", "expression", "code", "message"),
    [
        ("named.safetensors", "jawopen", 2, "no expression 'jawopen'; it has 2 under names. Did you mean 'jawOpen'?"),
        ("run", "jawOpen", 2, "no expression 'jawOpen'; it has none under any name"),
        ("named.safetensors", "jawopen.ply", 3, "jawopen.ply"),
        ("named.safetensors", "faces.h5:s14/gryn", 3, "'s14/grin'"),
    ],
)
def test_what_is_neither_a_name_nor_a_scan_is_refused(tmp_path, capsys, named, run, expression, code, message):
    assert main(["sample", run, "--expression", expression, "--out", str(tmp_path / "out")]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_scan_in_another_unit_is_left_out_with_a_guess(tmp_path, capsys):
    Mesh(small_faces.PEOPLE[0] / 10, small_faces.FACES).write("small-unit.ply", overwrite=True)
    out = tmp_path / "out"
    assert main(["neutralize", "run", "anna/smile.ply", "small-unit.ply", "--out", str(out), "--no-pictures"]) == 3
    assert files(out) == ["smile-neutral.ply"]
    assert "left out: small-unit.ply looks like centimeters: its size is 1/" in capsys.readouterr().err


def test_a_scan_that_does_not_fit_is_named_and_the_rest_is_written(tmp_path, capsys):
    small = Topology(small_faces.TEMPLATE[:161], small_faces.FACES[:10])
    Mesh(small.template, small.faces).write("small.ply", overwrite=True)
    for number, command in enumerate((
        ["neutralize", "run", "anna/smile.ply", "small.ply", "absent.ply"],
        ["transfer", "run", "--identity", "anna/smile.ply", "--expression", "absent.ply", "small.ply", "ben/grin.obj"],
    )):  # fmt: skip
        out = tmp_path / str(number)
        assert main([*command, "--out", str(out), "--no-pictures"]) == 3
        assert len(files(out)) == 1
        said = capsys.readouterr().err
        assert "left out: small.ply has 161 vertices; topology" in said
        assert f"Its own topology is {small.topology_hash}." in said
        assert "absent.ply" in said


@pytest.mark.parametrize(
    "command",
    [
        ["neutralize", "run", "absent.ply"],
        ["transfer", "run", "--identity", "absent.ply", "--expression", "anna/smile.ply"],
        ["transfer", "run", "--identity", "anna/smile.ply", "--expression", "faces.h5:s00/absent"],
        ["interpolate", "run", "anna/smile.ply", "absent.ply"],
        ["sample", "run", "--identity", "absent.ply"],
        ["sample", "nobody"],
    ],
)
def test_without_anything_to_do_nothing_is_written(tmp_path, capsys, command):
    assert main([*command, "--out", str(tmp_path / "out")]) == 3
    assert capsys.readouterr().err.startswith("meshdisent: error: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        NEUTRALIZE,
        ["transfer", "run", "--identity", "anna/smile.ply", "--expression", "ben/grin.obj"],
        ["interpolate", "run", "anna/smile.ply", "ben/grin.obj"],
        ["sample", "run"],
    ],
)
def test_a_folder_with_something_in_it_is_replaced_only_when_asked(tmp_path, capsys, command):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "out exists already" in capsys.readouterr().err
    assert files(tmp_path / "out") == ["mine.txt"]
    assert main([*command, "--out", str(tmp_path / "out"), "--overwrite", "--no-pictures"]) == 0
    assert "mine.txt" not in files(tmp_path / "out")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["interpolate", "run", "anna/smile.ply", "ben/grin.obj", "--steps", "1"], "1 steps; wanted at least 2"),
        (["sample", "run", "--count", "0"], "count of 0; wanted at least 1"),
        (["neutralize", "run"], "SCAN"),
    ],
)
def test_arguments_that_cannot_work_are_usage_errors(tmp_path, capsys, command, message):
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["evaluate", "neutralize", "transfer", "interpolate", "sample"])
def test_help_has_an_example_and_is_quick_to_come(verb):
    import subprocess

    program = (
        "import sys; from meshdisent.cli.main import main; code = main([sys.argv[1], '--help']); "
        "heavy = {'torch', 'h5py', 'pyvista', 'matplotlib', 'scipy'} & sys.modules.keys(); sys.exit(code or len(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", program, verb], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"For example: meshdisent {verb} run " in done.stdout
