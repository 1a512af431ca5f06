"""Functions of the user's own files and modules."""

from __future__ import annotations

import sys

import pytest

from deeplimit.checks import InputError
from deeplimit.loading import load_function


def test_functions_are_loaded_from_files_and_modules(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside_it.py").write_text("BEST = 0.7\n")
    (tmp_path / "my_training.py").write_text(
        "from beside_it import BEST\nnumber = 3\n"
        "def train(*, learning_rate, **_): return [(0, 0.1), (1, BEST), (2, learning_rate)]\n"
    )
    before = list(sys.path)
    for place in ("my_training", "my_training.py", str(tmp_path / "my_training.py")):
        assert load_function(f"{place}:train")(learning_rate=0.5) == [(0, 0.1), (1, 0.7), (2, 0.5)]
    with pytest.raises(InputError, match="expected a function number in my_training, found 3"):
        load_function("my_training:number")
    with pytest.raises(InputError, match=r"expected a function absent in my_training\.py, found None"):
        load_function("my_training.py:absent")
    assert sys.path == before
    monkeypatch.delitem(sys.modules, "my_training")
    monkeypatch.delitem(sys.modules, "beside_it")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training", "expected MODULE:function, such as training:train, found 'training'"),
        (":train", "expected MODULE:function"),
        ("training:", "expected MODULE:function"),
        ("no_such_module:train", "expected a module no_such_module, found none of that name"),
        ("no.such:train", r"expected a module no\.such, found none of that name"),
        ("nowhere.py:train", r"expected a module nowhere\.py, found no such file"),
        ("broken.py:train", r"^broken\.py: ZeroDivisionError: division by zero \(broken\.py, line 2\)$"),
        ("in_need:train", r"^in_need: ModuleNotFoundError: No module named 'absent' \(in_need\.py, line 1\)$"),
    ],
)
def test_what_is_no_function_is_refused(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("\n1 / 0\n")
    (tmp_path / "in_need.py").write_text("import absent\n")
    with pytest.raises(InputError, match=message):
        load_function(text)
