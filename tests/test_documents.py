"""The documents are true: their code runs, their commands exist, their links lead somewhere.

Python blocks of a document share one namespace and, with its console blocks, one empty folder that holds a copy of
examples/; they run in the order in which they are read. ```python no-run is not run; of ```console no-run, only the
commands and options are checked. ```python file=NAME is written to that file, for the commands that follow. What a console
block shows as output is not compared.
"""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

import deeplimit

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
SCRIPTS = {"diagnose_checkpoints.py", "diagnose_depths.py", "tune_l2.py"}
"""Examples that are no studies: tests/test_examples.py runs them, on images of its own."""

FENCE = re.compile(r"^(?P<ticks>`{3,})(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=ticks)[ \t]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"""!?\[[^\]]*\]\((?P<target>[^)\s]+)[^)]*\)|\b(?:src|href)="(?P<attribute>[^"]+)\"""")
HEADING = re.compile(r"^#+ +(?P<title>.+?)(?: +#+)?$", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z][a-z+.-]*:", re.IGNORECASE)

# Spelt so that these lines do not match themselves.
OWN_PATH = re.compile("(?<![A-Za-z0-9_.:~/-])/(?:" + "|".join(["work", "root", "home", "Users"]) + ")/")


# ------------------------------------------------------------------------------------------------------------ reading


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is the number of the lines above its text."""

    language: str
    flags: tuple[str, ...]
    text: str
    line: int

    @property
    def runs(self) -> bool:
        return "no-run" not in self.flags

    @property
    def file(self) -> str:
        """The name of the file that it is; empty where it is none."""
        return next((flag.removeprefix("file=") for flag in self.flags if flag.startswith("file=")), "")

    @property
    def commands(self) -> list[str]:
        """What follows each `$ ` of a console block, a backslash at the end of a line continuing it."""
        joined = self.text.replace("\\\n", " ")
        return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


def blocks(text: str) -> list[Block]:
    found = []
    for match in FENCE.finditer(text):
        language, *flags = match["info"].split() or [""]
        found.append(Block(language, tuple(flags), match["text"], text.count("\n", 0, match.start("text"))))
    return found


def prose(text: str) -> str:
    """The text without its code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


# ------------------------------------------------------------------------------------------------------------ running


def execute(document: Path, folder: Path) -> None:
    """Run the Python and console blocks of a document in order."""
    script = folder / f"{document.stem}_md.py"
    namespace: dict[str, object] = {"__name__": "__main__", "__file__": str(script)}
    for block in blocks(document.read_text(encoding="utf-8")):
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python" and block.runs:
            # In a file, at the document's own line numbers: tracebacks and inspect.getsource find it.
            script.write_text("\n" * block.line + block.text, encoding="utf-8")
            code = compile(script.read_text(encoding="utf-8"), str(script), "exec", dont_inherit=True)
            exec(code, namespace)
        elif block.language == "console":
            for command in block.commands:
                try_command(command, folder, only_parse=not block.runs)


def try_command(command: str, folder: Path, *, only_parse: bool) -> None:
    """Run a `deeplimit` command, or only let it read its options; look a `make` target up; leave the rest alone."""
    words = shlex.split(command, comments=True)
    if words[0] == "make":
        unknown = {word for word in words[1:] if "=" not in word} - make_targets()
        assert not unknown, f"$ {command}: no target {', '.join(sorted(unknown))} in the Makefile"
    elif Path(words[0]).name == "deeplimit":
        call([*expanded(words[1:], folder), *(["--help"] if only_parse else [])], folder)


def expanded(words: list[str], folder: Path) -> list[str]:
    """Words with `*` replaced by the files of the folder that they stand for, as a shell does."""
    found = {
        word: sorted(path.relative_to(folder).as_posix() for path in folder.glob(word)) for word in words if "*" in word
    }
    return [name for word in words for name in found.get(word) or [word]]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def call(arguments: list[str], folder: Path) -> None:
    command = [sys.executable, "-m", "deeplimit", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, (
        f"deeplimit {shlex.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    )


def escaped(text: str) -> list[str]:
    """Blocks that the rules above would pass over although they hold our code or commands."""
    return [
        f"line {block.line}: a block of {block.language or 'no language'} holds {what}"
        for block in blocks(text)
        for what, pattern, language in (
            ("a deeplimit command", r"^(\$ )?(\.venv/bin/)?deeplimit [a-z-]+", "console"),
            ("Python", r"^(import|from) deeplimit\b", "python"),
        )
        if block.language != language and re.search(pattern, block.text, re.MULTILINE)
    ]


# ---------------------------------------------------------------------------------------------------- links and paths


def broken_links(document: Path) -> list[str]:
    """Relative links to a file that is absent or to a heading that its file does not have."""
    text = prose(document.read_text(encoding="utf-8"))
    targets = [match["target"] or match["attribute"] for match in LINK.finditer(text)]
    return [target for target in targets if not ELSEWHERE.match(target) and not resolves(target, document)]


def resolves(target: str, document: Path) -> bool:
    path, _, fragment = target.partition("#")
    file = document.parent / path if path else document
    if not file.exists():
        return False
    return not fragment or file.suffix != ".md" or fragment in anchors(file.read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings: lower case, spaces to hyphens, other punctuation dropped."""
    titles = [match["title"].lower() for match in HEADING.finditer(FENCE.sub("", text))]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def own_paths(text: str) -> list[str]:
    """Lines with an absolute path of a home or work folder, which exists on one machine alone."""
    return [line.strip() for line in text.splitlines() if OWN_PATH.search(line)]


def project_files() -> Iterator[tuple[str, str]]:
    """Name and text of every file that is, or would be, in the repository; binary files are left out."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in sorted(filter(None, names)):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b"\0"
        if b"\0" not in content:
            yield name, content.decode("utf-8")


# -------------------------------------------------------------------------------------------- the rules, on the project


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_there_are_documents_and_examples():
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= {document.name for document in DOCUMENTS}
    assert len(EXAMPLES) >= 2


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_the_code_of_a_document_runs(document, tmp_path, monkeypatch):
    if EXAMPLES:
        shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    execute(document, tmp_path)


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_no_code_of_a_document_escapes(document):
    assert escaped(document.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_the_links_of_a_document_lead_somewhere(document):
    assert broken_links(document) == []


@pytest.mark.parametrize("example", [path for path in EXAMPLES if path.name not in SCRIPTS], ids=relative)
def test_an_example_runs(example, tmp_path):
    call(["study", str(example), "--tier", "quick", "--out", "out"], tmp_path)
    assert (tmp_path / "out" / "report.html").is_file()


def test_no_file_names_a_path_of_one_machine():
    found = [f"{name}: {line}" for name, text in project_files() for line in own_paths(text)]
    assert found == []


def test_the_first_sentence_of_readme_is_what_its_figure_shows():
    """The figure is drawn by docs/figures/neighbours.py from the verdicts of a run; the sentence has its numbers from there."""
    opening = (ROOT / "README.md").read_text(encoding="utf-8").partition("![")[0]
    shown = re.findall(
        r"exponent (−?[0-9.]+)", (ROOT / "docs" / "figures" / "neighbours.svg").read_text(encoding="utf-8")
    )
    assert len(shown) == 2
    assert re.findall(r"exponent (−?[0-9.]+)", opening) == sorted(shown)[::-1]


def test_the_figure_is_drawn_from_rows_and_verdicts(tmp_path):
    verdicts = [
        {"id": f"marion2024.{name}", "measured": value}
        for name, value in (("15b.gap", -0.5), ("21.independent-layers", 0.25))
    ]
    (tmp_path / "verdicts.json").write_text(json.dumps(verdicts), encoding="utf-8")
    rows = [(case, depth, 1.0 / depth) for case in ("smooth", "independent") for depth in (16, 32)]
    frame = pl.DataFrame(rows, schema=["case", "depth", "value"], orient="row")
    frame.with_columns(study=pl.lit("gaps"), quantity=pl.lit("gap.max")).write_parquet(tmp_path / "rows.parquet")
    runpy.run_path(str(ROOT / "docs" / "figures" / "neighbours.py"))["main"](tmp_path, tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert "smooth at the start: exponent −0.50" in text
    assert "independent at the start: exponent 0.25" in text


def test_the_version_is_one():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {deeplimit.__version__}\n" in citation


def test_every_requirement_has_a_reason_and_a_pinned_version():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    settings = tomllib.loads(text)
    project, overrides = settings["project"], settings["tool"]["scikit-build"]["overrides"]
    tools = [tool for override in overrides for tool in override.get("build", {}).get("requires", [])]
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {pin.split("==")[0].lower().replace("_", "-") for pin in pins if "==" in pin}
    assert not [pin for pin in pins if not pin.startswith("#") and not re.fullmatch(r"[\w.-]+==[\w.]+", pin)]
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        assert re.search(rf'"{re.escape(requirement)}", +# \w', text), f"{requirement}: no reason beside it"
        assert re.split("[<>=!~]", requirement)[0] in pinned, f"{requirement}: not in constraints.txt"
    for requirement in [*settings["build-system"]["requires"], *tools]:
        assert re.search(rf'"{re.escape(requirement)}", +# \w', text), f"{requirement}: no reason beside it"
        assert requirement in pins, f"{requirement}: not so in constraints.txt"
    assert len(tools) == 2


# -------------------------------------------------------------------------------------- each rule fails where planted

PLANTED = """# A title

## What it *is*, and why

```python
depth = 64
```

Words with `[no](link)` in code.

```python no-run
raise RuntimeError
```

```console
$ deeplimit list \\
    --json
output
$ make test
```

```python
Path("seen").write_text(str(depth + 1))
```
"""


@pytest.fixture
def document(tmp_path):
    """A function that writes a document and returns its path."""

    def write(text: str) -> Path:
        path: Path = tmp_path / "page.md"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_blocks_are_read_with_language_flags_and_line():
    found = blocks(PLANTED)
    assert [(block.language, block.runs) for block in found] == [
        ("python", True),
        ("python", False),
        ("console", True),
        ("python", True),
    ]
    assert PLANTED.splitlines()[found[0].line] == "depth = 64"
    assert found[2].commands == ["deeplimit list      --json", "make test"]


def test_python_blocks_share_a_namespace_and_the_others_are_not_run(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called = []
    monkeypatch.setattr(sys.modules[__name__], "call", lambda arguments, folder: called.append(arguments))
    execute(document("```python\nfrom pathlib import Path\n```\n" + PLANTED), tmp_path)
    assert (tmp_path / "seen").read_text(encoding="utf-8") == "65"
    assert called == [["list", "--json"]]


def test_a_block_that_is_a_file_is_written_and_not_run(document, tmp_path):
    execute(document("```python file=mine.py\n1 / 0\n```\n"), tmp_path)
    assert (tmp_path / "mine.py").read_text(encoding="utf-8") == "1 / 0\n"


def test_a_python_block_that_fails_is_found_at_its_line(document, tmp_path):
    with pytest.raises(ZeroDivisionError, match="division by zero") as found:
        execute(document("# A title\n\n```python\n1 / 0\n```\n"), tmp_path)
    assert found.traceback[-1].lineno == 3  # counted from 0


@pytest.mark.parametrize("info", ["console", "console no-run"])
def test_a_command_that_fails_is_found(document, tmp_path, info):
    with pytest.raises(AssertionError, match=r"deeplimit no-such-command.*: exit 2"):
        execute(document(f"```{info}\n$ deeplimit no-such-command\n```\n"), tmp_path)


def test_an_option_that_does_not_exist_is_found_without_running(document, tmp_path):
    text = "```console no-run\n$ deeplimit reproduce marion2024 {}\n```\n"
    execute(document(text.format("--tier paper")), tmp_path)
    with pytest.raises(AssertionError, match="No such option"):
        execute(document(text.format("--teir paper")), tmp_path)


def test_a_star_stands_for_files(tmp_path):
    for name in ("b.txt", "a.txt", "c.md"):
        (tmp_path / name).touch()
    assert expanded(["regime", "*.txt", "no*where"], tmp_path) == ["regime", "a.txt", "b.txt", "no*where"]


def test_a_make_target_that_does_not_exist_is_found(document, tmp_path):
    execute(document("```console\n$ make test PYTHON=python3.12\n```\n"), tmp_path)
    with pytest.raises(AssertionError, match="no target tset in the Makefile"):
        execute(document("```console\n$ make tset\n```\n"), tmp_path)


def test_code_under_another_language_is_found():
    assert escaped(PLANTED) == []
    assert escaped("```sh\ndeeplimit list\n```\n") == ["line 1: a block of sh holds a deeplimit command"]
    assert escaped("```\n$ .venv/bin/deeplimit list\n```\n") == [
        "line 1: a block of no language holds a deeplimit command"
    ]
    assert escaped("```py\nimport deeplimit\n```\n") == ["line 1: a block of py holds Python"]


def test_a_broken_link_is_found(document):
    assert broken_links(document(PLANTED)) == []
    good = "[a](page.md) [b](https://example.org/x) [c](#what-it-is-and-why) [d](page.md#a-title) <a href='x'>\n"
    assert broken_links(document(PLANTED + good)) == []
    bad = '[a](absent.md) ![b](absent.svg "words") [c](#nowhere) [d](page.md#nowhere) <img src="absent.png">\n'
    assert broken_links(document(PLANTED + bad)) == [
        "absent.md", "absent.svg", "#nowhere", "page.md#nowhere", "absent.png"
    ]  # fmt: skip


@pytest.mark.parametrize("folder", ["work", "root", "home", "Users"])
def test_a_path_of_one_machine_is_found(folder):
    path = f"/{folder}/somebody/data"
    assert own_paths(f"first\nread {path} now\n") == [f"read {path} now"]
    assert own_paths(f'"{path}"') == [f'"{path}"']
    assert own_paths(f"https://example.org{path} and ./{folder}/x and net{path}") == []
