from __future__ import annotations

from pathlib import Path

import pytest

from deeplimit.checks import InputError
from deeplimit.records import Store
from deeplimit.study import Request, Study, Subject, load_file, remembered

FLOW = Path(__file__).parents[1] / "studies" / "flow.py"


@pytest.fixture
def subject():
    return load_file(FLOW)


def chosen(subject: Subject) -> dict[str, tuple[list[str], list[str]]]:
    return {s.name: ([figure.id for figure in s.figures], [claim.id for claim in s.claims]) for s in subject.studies}


WHOLE = (["norms"], ["flow.1.end", "flow.2.wrong"])


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ([], WHOLE),
        (["flow"], WHOLE),
        (["norms"], (["norms"], [])),
        (["flow.1.end"], ([], ["flow.1.end"])),
        (["2.wrong", "norms"], (["norms"], ["flow.2.wrong"])),
    ],
)
def test_only_selects_studies_figures_and_claims(subject, only, expected):
    assert chosen(subject.select(only)) == {"flow": expected}


def test_studies_of_which_nothing_is_wanted_are_left_out(subject):
    two = Subject("flow", "Two", studies=(*subject.studies, Study("other", tasks=lambda settings: [])))
    assert chosen(two.select(["norms"])).keys() == {"flow"}


def test_an_unknown_name_is_answered_with_the_nearest(subject):
    with pytest.raises(InputError, match=r"expected one of .*norms.*; found 'norm'"):
        subject.select(["norm"])


def test_two_things_of_one_name_are_refused(subject):
    with pytest.raises(InputError, match="studies of different names, found flow twice"):
        Subject("flow", "Twice", studies=subject.studies * 2)


@pytest.mark.parametrize(
    ("options", "message"), [({"dtype": "float16"}, "dtype: expected"), ({"seeds": -1}, "seeds: .*found -1")]
)
def test_options_that_no_study_could_serve_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Request("paper", "marion2024", **options)


def test_the_command_asks_for_the_same():
    assert Request("paper", "marion2024").command == "deeplimit reproduce marion2024 --tier quick"
    request = Request("file", "a.py", tier="paper", seeds=0, dtype="float32")
    assert request.command == "deeplimit study a.py --tier paper --seeds 0 --dtype float32"


# What a directory remembers ----------------------------------------------------------------------------------------


def test_the_request_comes_back(tmp_path):
    request = Request("paper", "marion2024", only=("a", "b"), seeds=3)
    with Store(tmp_path) as store:
        store.remember(vars(request) | {"only": list(request.only)})
    assert remembered(tmp_path) == request


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "found an empty one"), ({"kind": "dream", "name": "x"}, "request of this version")],
)
def test_a_directory_without_a_request_is_refused(tmp_path, content, message):
    with Store(tmp_path) as store:
        if content:
            store.remember(content)
    with pytest.raises(InputError, match=message):
        remembered(tmp_path)


# A user's file -----------------------------------------------------------------------------------------------------


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    (folder / name).write_text(f"from deeplimit.study import Study\n{text}\n")
    return folder / name


def test_one_study_or_several_are_collected(tmp_path):
    one = load_file(write(tmp_path, '"""Not a docstring."""\nstudy = Study("a", title="A", tasks=list)'))
    assert (one.name, one.title, [s.name for s in one.studies]) == ("mine", "A", ["a"])
    several = load_file(write(tmp_path, 'studies = [Study("a", tasks=list), Study("b", tasks=list)]'))
    assert (several.title, [s.name for s in several.studies]) == ("mine", ["a", "b"])


def test_a_module_beside_the_file_is_found(tmp_path):
    (tmp_path / "beside_the_study.py").write_text('NAME = "a"')
    path = write(tmp_path, 'from beside_the_study import NAME\nstudy = Study(NAME, title="T", tasks=list)')
    assert load_file(path).studies[0].name == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", r"expected `study = Study\(…\)`.*found \[\]"),
        ("study = 3", r"found \[3\]"),
        ("studies = ()", r"expected `study"),
        ("\n1 / 0", r"ZeroDivisionError: division by zero \(mine\.py, line 3\)"),
        ("def", "SyntaxError"),
        ('study = Study("a b", tasks=list)', r"InputError: study: expected a name.* \(mine\.py, line 2\)"),
    ],
)
def test_a_file_that_gives_no_study_is_refused_with_the_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_file(write(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="found none at"):
        load_file(tmp_path / "mine.py")
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(InputError, match=r"expected a Python file \(\.py\)"):
        load_file(tmp_path / "mine.txt")
