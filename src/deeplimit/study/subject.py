"""What a report is about, and what of it was asked for."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from deeplimit import checks
from deeplimit.failures import users_code
from deeplimit.records import Store
from deeplimit.records.code import STUDY_MODULE
from deeplimit.study.description import Study
from deeplimit.study.settings import DTYPES, replicates

if TYPE_CHECKING:
    from deeplimit.claims import Claim
    from deeplimit.report import Discrepancy, ScoreRow


@dataclass(frozen=True)
class Subject:
    """What a report is about: the studies of a paper, or of a user's file.

    Args:
        name: short name; claims may be named without it (`4.true-maximum` for `marion2024.4.true-maximum`).
        title, citation: headline of the report and the line below.
        studies: in the order of the report.
        discrepancies: where text, figures and code disagree.
        scorecard: the reproducibility variables, or a function of the record that answers them.
    """

    name: str
    title: str
    citation: str = ""
    studies: tuple[Study, ...] = ()
    discrepancies: Sequence[Discrepancy] = ()
    scorecard: Sequence[ScoreRow] | Callable[[Mapping[str, Any]], Sequence[ScoreRow]] = ()

    def __post_init__(self) -> None:
        """Refuse names that stand for two things."""
        for what, names in (("studies", [s.name for s in self.studies]), ("claims", [c.id for c in self.claims])):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise checks.InputError(
                    f"{self.name}: expected {what} of different names, found {', '.join(twice)} twice"
                )

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The claims of all studies."""
        return tuple(claim for study in self.studies for claim in study.claims)

    def select(self, only: Sequence[str]) -> Subject:
        """The subject with nothing but these studies, figures and claims; the whole for an empty `only`.

        Args:
            only: names of studies, ids of figures, ids of claims with or without the subject's name before them.

        Raises:
            InputError: one of them is unknown; the message names the nearest.
        """
        if not only:
            return self
        short = f"{self.name}."
        known = {name for study in self.studies for name in _names(study, short)}
        wanted = {checks.one_of(f"{self.name}: study, figure or claim", name, known) for name in only}
        studies = (_reduced(study, wanted, prefix=short) for study in self.studies)
        return dataclasses.replace(self, studies=tuple(study for study in studies if study is not None))


def _names(study: Study, prefix: str) -> set[str]:
    """Everything of a study that can be selected."""
    ids = {claim.id for claim in study.claims}
    return {study.name} | {figure.id for figure in study.figures} | ids | {name.removeprefix(prefix) for name in ids}


def _reduced(study: Study, wanted: set[str], *, prefix: str) -> Study | None:
    """A study with only the figures and claims that are wanted; None where nothing of it is."""
    if study.name in wanted:
        return study
    figures = tuple(figure for figure in study.figures if figure.id in wanted)
    claims = tuple(claim for claim in study.claims if wanted & {claim.id, claim.id.removeprefix(prefix)})
    return dataclasses.replace(study, figures=figures, claims=claims) if figures or claims else None


@dataclass(frozen=True)
class Request:
    """What was asked for; kept in the output directory, so that the report can be drawn again.

    Args:
        kind: whether `name` is a paper or a file with a study.
        folder: where the file lay.
        only: names that the report is restricted to.
        tier, seeds, dtype: as in `Study.plan`.
    """

    kind: Literal["paper", "file"]
    name: str
    tier: str = "quick"
    only: tuple[str, ...] = ()
    seeds: int | None = None
    dtype: str | None = None
    folder: str = ""

    def __post_init__(self) -> None:
        """Refuse options that no study could serve."""
        dtype = checks.optional(checks.among(DTYPES))
        kind = checks.among(("paper", "file"))
        checks.fields(self, kind=kind, name=checks.text, tier=checks.text, only=checks.each(checks.text), dtype=dtype)
        checks.optional(replicates)("seeds", self.seeds)

    @property
    def command(self) -> str:
        """The command line that asks for the same, without what only says where and how."""
        words = ["reproduce" if self.kind == "paper" else "study", self.name, *self._sizes]
        return " ".join(["deeplimit", *words])

    @property
    def options(self) -> tuple[str, ...]:
        """The options of the command line that say what the report is of."""
        return (*self._sizes, *(word for name in self.only for word in ("--only", name)))

    @property
    def _sizes(self) -> tuple[str, ...]:
        """The options that say which runs are meant."""
        values = {"--tier": self.tier, "--seeds": self.seeds, "--dtype": self.dtype}
        return tuple(word for name, value in values.items() if value is not None for word in (name, str(value)))


def remembered(out: Path) -> Request:
    """The request that an output directory was made by.

    Raises:
        InputError: it is no such directory, nothing was run in it, or it was made by another version of this program.
    """
    store = Store(out)
    store.request()  # refuses a directory that is not marked
    request = last_request(store)
    if request is None:
        raise checks.InputError(f"{out}: expected an output directory in which something was run, found an empty one")
    return request


def last_request(store: Store) -> Request | None:
    """What was asked for last in an output directory; None where nothing was.

    Raises:
        InputError: it is no request of this version of the program.
    """
    from pydantic import TypeAdapter, ValidationError

    if store.marker is None or store.marker.request is None:
        return None
    try:
        return TypeAdapter(Request).validate_python(store.marker.request)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise checks.InputError(
            f"output {store.out}: expected a request of this version of deeplimit, found one of which {where}{first['msg']}; "
            "use another --out"
        ) from problem


def load_file(path: Path) -> Subject:
    """Execute a user's file and collect `study = Study(…)` or `studies = (…)`; its own modules are looked for beside it.

    Raises:
        InputError: there is no such file, it fails, or it defines no study.
    """
    module = _executed(path)
    found = getattr(module, "studies", None) or ([module.study] if hasattr(module, "study") else [])
    studies = tuple(study for study in found if isinstance(study, Study)) if isinstance(found, tuple | list) else ()
    if not studies or len(studies) != len(found):
        wanted = "`study = Study(…)` or `studies = (Study(…), …)`"
        raise checks.InputError(f"{path}: expected {wanted}, found {checks.brief(found)}")
    title = studies[0].title if len(studies) == 1 else ""
    return Subject(path.stem, title or path.stem, inspect.getdoc(module) or "", studies)


def _executed(path: Path) -> ModuleType:
    """The module of a file, under a name that is the file's and no other module's.

    Raises:
        InputError: there is no such file, or it fails; the message names the line.
    """
    if not path.is_file():
        raise checks.InputError(f"study file: expected a Python file, found none at {path}")
    name = STUDY_MODULE + re.sub(r"\W", "_", path.stem)
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise checks.InputError(f"study file: expected a Python file (.py), found {path}")
    module = importlib.util.module_from_spec(spec)
    # Registered, because dataclasses and pickle look a class's module up by its name.
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    with users_code(str(path)):
        spec.loader.exec_module(module)
    return module
