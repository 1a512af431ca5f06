"""docs/safety.md is true: every row of its table runs among files that would leave a mark if they ran."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from deeplimit.__main__ import main
from deeplimit.cli import app
from deeplimit.data.sets import SETS
from deeplimit.papers import PAPERS, Paper
from deeplimit.study import load_file as load_study
from tests.data.fakes import tiny_mnist
from tests.diagnosis.networks import save_network
from tests.diagnosis.sources.test_folder import SMALL

PAGE = Path(__file__).parents[1] / "docs" / "safety.md"
FLOW = Path(__file__).parent / "studies" / "flow.py"
RATE = ["--learning-rate", "0.2"]
SETTLED = 'weights == "rough" or depth > 0'


@dataclass
class Place:
    """A folder with files that leave marks, and a way to call the command line in it."""

    folder: Path
    call: Callable[..., tuple[int, str, str]]

    def code(self, mark: str = "mark") -> str:
        """Python that leaves a mark."""
        return f"from pathlib import Path\nPath({str(self.folder / 'marks' / mark)!r}).touch()\n"

    def trap(self, name: str) -> Path:
        """A Python file that leaves a mark."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.code())
        return path

    def pickle(self, name: str, inside: str = "x") -> Path:
        """A pickle that leaves a mark."""
        code = self.code()
        evil = type("Evil", (), {"__reduce__": lambda self: (exec, (code,))})()
        path = self.folder / name
        path.write_bytes(pickle.dumps({inside: evil}))
        return path

    @property
    def marks(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "marks").iterdir())


@pytest.fixture
def place(tmp_path, monkeypatch, capsys) -> Iterator[Place]:
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["deeplimit", *map(str, words)])
        capsys.readouterr()  # of what made the files
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), *capsys.readouterr()

    (tmp_path / "marks").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the user was asked"))
    before, path = set(sys.modules), list(sys.path)
    found = Place(tmp_path, call)
    for name in ("mine.py", "sitecustomize.py", "conftest.py", "setup.py"):
        found.trap(name)
    (tmp_path / "matplotlibrc").write_text("backend: module://mine\n")
    yield found
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.fixture
def paper(monkeypatch):
    subject = Paper("flow", "Flows", "Somebody, 2024", load_study(FLOW).studies)
    monkeypatch.setitem(sys.modules, "a_paper", SimpleNamespace(paper=subject))
    monkeypatch.setitem(PAPERS, "flow", "a_paper")


@pytest.fixture
def images(monkeypatch, tmp_path):
    known = tiny_mnist(tmp_path / "data")
    for name in list(SETS):
        monkeypatch.delitem(SETS, name)
    monkeypatch.setitem(SETS, "mnist", known)
    return tmp_path / "data"


ROWS: dict[str, Callable[..., None]] = {}


def row(text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def register(test: Callable[..., None]) -> Callable[..., None]:
        assert text not in ROWS
        ROWS[text] = test
        return test

    return register


# ------------------------------------------------------------------------------------------------------ the page itself


def table() -> list[tuple[str, str]]:
    """Command, as it stands in the first cell without its ticks, and what it runs."""
    lines = PAGE.read_text(encoding="utf-8").partition("## ")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [(cells_of[0].replace("`", ""), cells_of[2]) for cells_of in cells[2:]]


def commands() -> set[str]:
    groups = [(group.name, group.typer_instance) for group in app.registered_groups if group.typer_instance]
    inner = {f"{name} {command(found)}" for name, group in groups for found in group.registered_commands}
    return {command(found) for found in app.registered_commands} | inner


def command(found: object) -> str:
    callback = found.callback.__name__.strip("_")  # type: ignore[attr-defined]
    return str(found.name or callback.replace("_", "-"))  # type: ignore[attr-defined]


def test_every_row_has_a_test_and_every_test_a_row():
    assert sorted(name for name, _ in table()) == sorted(ROWS)


def test_every_command_has_a_row():
    known = commands()
    assert {"study", "report", "l2 predict", "data check"} <= known
    found = {name for name in known for text, _ in table() if f"{text} ".startswith(f"{name} ")}
    assert found == known


def test_the_traps_bite(place):
    exec(compile(place.trap("a.py").read_text(), "a.py", "exec"), {})
    assert place.marks == ["mark"]
    (place.folder / "marks" / "mark").unlink()
    pickle.loads(place.pickle("a.pkl").read_bytes())
    assert place.marks == ["mark"]


@pytest.mark.parametrize("text", [name for name, _ in table()])
def test_nothing_runs_but_what_the_page_says(text, place, request):
    test = ROWS[text]
    others = test.__code__.co_varnames[1 : test.__code__.co_argcount]
    test(place, *(request.getfixturevalue(name) for name in others))
    runs = dict(table())[text]
    allowed = ["named"] if re.match(r"FILE|MODULE", runs) else []
    assert place.marks == allowed


# ------------------------------------------------------------------------------------------------------------- the rows


@row("list")
def _(place):
    assert place.call("list")[0] == 0


@row("demo DIR")
def _(place):
    assert place.call("demo", place.folder / "demo")[0] == 0


@row("engines")
def _(place):
    assert place.call("engines")[0] == 0


@row("reproduce")
def _(place, paper, images):
    place.pickle("data/mnist/train-labels-idx1-ubyte")
    assert place.call("reproduce", "flow", "--seeds", 0, "--out", "out", "--data-dir", images)[0] == 0
    for name in ("out/study/flow.py", "out/a_paper.py", "out/runs/a.py"):
        place.trap(name)
    assert "3 complete before" in place.call("reproduce", "flow", "--seeds", 0, "--out", "out")[1]


def study_file(place: Place) -> Path:
    """A study beside a module that it imports and another one that it does not."""
    file = place.folder / "studies" / "flow.py"
    place.trap("studies/other.py")
    (file.parent / "beside_flow.py").write_text(place.code("named"))
    file.write_text(FLOW.read_text() + "\nimport beside_flow\n")
    return file


@row("study FILE")
def _(place):
    assert place.call("study", study_file(place), "--seeds", 0, "--out", "out")[0] == 0


def lies(out: Path, /, **changes: object) -> None:
    """Let an output directory say that it was made by something else."""
    marker = json.loads((out / "deeplimit.json").read_text())
    marker["request"] |= changes
    (out / "deeplimit.json").write_text(json.dumps(marker))


@row("report DIR of a paper")
def _(place, paper):
    assert place.call("reproduce", "flow", "--seeds", 0, "--out", "out")[0] == 0
    for name in ("out/study/flow.py", "out/flow.py", "out/a_paper.py"):
        place.trap(name)
    place.pickle("out/rows.parquet")
    place.pickle("out/record.json")
    assert place.call("report", "out")[0] == 0
    for name in ("mine", "../mine", str(place.folder / "mine.py"), "os"):
        lies(place.folder / "out", name=name)
        assert place.call("report", "out")[0] == 2


@row("report DIR --study FILE")
def _(place):
    file = study_file(place)
    assert place.call("study", file, "--seeds", 0, "--out", "out")[0] == 0
    (place.folder / "marks" / "named").unlink()
    for name in ("out/study/flow.py", "out/study/beside_flow.py", "out/flow.py"):
        place.trap(name)
    status, _, err = place.call("report", "out")
    assert (status, err.count("\n")) == (2, 1)
    assert "deeplimit report out --study studies/flow.py" in err
    for folder in (place.folder, place.folder / "out" / "study"):
        lies(place.folder / "out", name="mine.py", folder=str(folder))
        assert place.call("report", "out")[0] == 2
    assert place.marks == []
    lies(place.folder / "out", name="flow.py", folder=str(file.parent))
    sys.modules.pop("beside_flow")
    assert "3 complete before" in place.call("report", "out", "--study", file)[1]


@row("bench")
def _(place):
    assert place.call("bench", "--list")[0] == 0
    assert place.call("bench", "--only", "depth", "--contestants", "reference", "--rounds", 1)[0] in (0, 2)


@row("bench --saved FILE")
def _(place):
    assert place.call("bench", "--saved", place.pickle("bench.json"))[0] == 2


@row("data list")
def _(place, images):
    place.pickle("data/mnist/train-labels-idx1-ubyte")
    assert place.call("data", "list", "--data-dir", images)[0] == 0


@row("data fetch")
def _(place, images):
    place.trap("data/mnist/train.py")
    assert place.call("data", "fetch", "all", "--data-dir", images)[0] == 0


@row("data check")
def _(place, images):
    place.pickle("data/mnist/train-labels-idx1-ubyte")
    assert place.call("data", "check", "--data-dir", images)[0] == 2


@row("regime FILE")
def _(place):
    files = [place.pickle(f"{k}.safetensors") for k in range(3)]
    assert place.call("regime", *files)[0] == 2


@row("diagnose FILE")
def _(place):
    for name in ("a.pt", "a.pth", "a.bin", "a.ckpt", "a.pkl", "a.safetensors", "a.onnx", "a", "a.tar"):
        assert place.call("diagnose", place.pickle(name, "state_dict"))[0] == 2
    code = place.code()
    evil = type("Evil", (), {"__reduce__": lambda self: (exec, (code,))})()
    torch.save({"weights": torch.ones(2), "evil": evil}, "b.pt")
    assert "needs the code of" in place.call("diagnose", "b.pt")[2]
    assert place.call("diagnose", "mine.py")[0] == 2


def model(place: Place, name: str, **entries: object) -> Path:
    """The folder of a small model whose configuration asks for code that lies beside it."""
    folder = place.folder / name
    transformers.AutoModel.from_config(SMALL["bert"]).save_pretrained(folder)
    for file in ("mine.py", "modeling_mine.py", "__init__.py", "custom_generate/generate.py"):
        place.trap(f"{name}/{file}")
    place.pickle(f"{name}/pytorch_model.bin")
    place.pickle(f"{name}/training_args.bin")
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "mine.Config", "AutoModel": "modeling_mine.Model"}, **entries}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@row("diagnose FOLDER")
def _(place):
    folder = model(place, "model", model_type="mine")
    assert place.call("diagnose", folder)[0] == 0
    (folder / "model.safetensors").unlink()
    assert place.call("diagnose", folder)[0] == 2


@row("diagnose transformers:NAME")
def _(place):
    assert place.call("diagnose", f"transformers:{model(place, 'known')}")[0] == 0
    for entries in ({"model_type": "mine"}, {"attn_implementation": "mine/kernel"}):
        status, _, err = place.call("diagnose", f"transformers:{model(place, 'strange', **entries)}")
        assert (status, err.count("\n")) == (2, 1)
    folder = model(place, "adapter")
    (folder / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(folder), "peft_type": "LORA"})
    )
    assert place.call("diagnose", f"transformers:{folder}")[0] == 2
    for file in ("adapter_config.json", "model.safetensors"):
        (folder / file).unlink()
    assert place.call("diagnose", f"transformers:{folder}")[0] == 2


@row("diagnose timm:NAME")
def _(place):
    place.trap("resnet18.py")
    assert place.call("diagnose", "timm:resnet18")[0] == 2
    assert place.call("diagnose", f"timm:{place.folder / 'mine'}")[0] == 2


@row("diagnose MODULE:FUNCTION")
def _(place):
    place.trap("nets/other.py")
    (place.folder / "nets" / "beside_net.py").write_text(place.code("named"))
    file = place.folder / "nets" / "trap_net.py"
    file.write_text(
        "import beside_net\nfrom torch import nn\n"
        "def net(): return nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(6)))\n"
    )
    before = list(sys.path)
    assert place.call("diagnose", f"{file}:net")[0] == 0
    assert sys.path == before


@row("diagnose --batch FILE")
def _(place):
    net = save_network(place.folder / "net.safetensors")
    code = place.code()
    evil = type("Evil", (), {"__reduce__": lambda self: (exec, (code,))})()
    np.save("object.npy", np.array([evil], dtype=object), allow_pickle=True)
    np.savez("object.npz", x=np.array([evil], dtype=object))
    for file in ("object.npy", "object.npz", place.pickle("a.npy"), place.pickle("a.safetensors"), "mine.py"):
        assert place.call("diagnose", net, "--batch", file)[0] == 2


@row("diagnose --fail-if TEXT")
def _(place):
    net = save_network(place.folder / "net.safetensors")
    for text in (
        "__import__('mine')",
        "depth > (lambda: __import__('mine'))()",
        f"exec({place.code()!r}) == 1",
        "[mine for mine in depth]",
    ):
        assert place.call("diagnose", net, "--fail-if", text)[0] == 2


@row("l2 predict MODULE:FUNCTION")
def _(place):
    place.trap("other.py")
    (place.folder / "trap_training.py").write_text(
        place.code("named") + "def train(*, steps, **_): return [(k, 0.5) for k in range(0, steps + 1, 10)]\n"
    )
    before = list(sys.path)
    assert place.call("l2", "predict", "trap_training:train", *RATE, "--budget", 10000, "--weight-decay", 0.1)[0] == 0
    assert sys.path == before


@row("l2 convert")
def _(place):
    assert place.call("l2", "convert", "0.1", *RATE, "--from", "torch-sgd", "--to", "house")[0] == 0


# -------------------------------------------------------------------------------------------------------- Python's rule


def test_the_command_lets_no_file_of_the_current_folder_stand_in_for_a_module(place):
    script = place.folder / "bin" / "deeplimit"
    script.parent.mkdir()
    script.write_text("from deeplimit.__main__ import main\nmain()\n")
    for name in ("torch.py", "json.py", "typing.py", "numpy.py", "safetensors.py", "rich.py", "typer.py"):
        place.trap(name)
    net = save_network(place.folder / "net.safetensors")
    for words in ([script], ["-P", "-m", "deeplimit"]):
        done = subprocess.run([sys.executable, *words, "diagnose", net], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert place.marks == []
    subprocess.run([sys.executable, "-m", "deeplimit", "diagnose", net], capture_output=True, check=False)
    assert place.marks == ["mark"]


def test_a_batch_and_a_network_are_read_where_nothing_is_wrong_with_them(place):
    """So that the refusals above mean something."""
    net = save_network(place.folder / "net.safetensors")
    assert place.call("diagnose", net)[0] == 0
    save_file(load_file(net), "copy.safetensors")
    assert place.call("diagnose", net, "--fail-if", SETTLED)[0] == 1
    assert os.listdir("marks") == []
