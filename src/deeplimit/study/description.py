"""A study as its author writes it: networks × grid × data × training × measures × claims."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from deeplimit import checks
from deeplimit.claims import Claim
from deeplimit.figures import Figure
from deeplimit.records import Label, Task
from deeplimit.study.settings import TIERS, Settings, Tiered

if TYPE_CHECKING:
    from deeplimit.data import Augmentation, Pairs
    from deeplimit.draws import Draw
    from deeplimit.measures import Comparison, Measure
    from deeplimit.networks import Network
    from deeplimit.training import Batches, Decay, EpochStop, LossFunction, Optimizer
    from deeplimit.training.l2 import Rule

    T = TypeVar("T")
    #: A value, one per tier, or a function of the grid axes that its parameters name.
    Part: TypeAlias = T | Tiered[Any] | Callable[..., T]

#: Columns that every row has and that a grid axis may not take; `depth` may be an axis.
RESERVED = frozenset({"study", "seed", "iteration", "quantity", "index", "value", "dtype"})
#: Parts that a training run has a default for.
OPTIONAL = ("loss", "draw", "batches", "stop", "decay", "rule", "augmentation")
TASK = ("run", "cost", "probe", "labels")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Study:
    """Networks, what they are trained on and how, what is measured, and what is claimed of it.

    Either `network` with its companions describes training runs, or `tasks` returns computations of any kind. Everything from `network` to
    `measures` is a value, a `Tiered`, or a function of the grid axes that its parameters name. All seeds of a grid point run as one
    ensemble.

    Args:
        name: short name, unique within a paper.
        title, text: shown in the report: what the study asks, in our words.
        grid: axis -> values, a `Tiered` of them, or a dict label -> value where the values are objects.
        seeds: the authors' seeds; `replicates` adds as many more.
        lockstep: all depths of a grid point advance together in one run, for measures that compare depths.
        dtypes: precisions; they make an axis of their own.
        tasks: settings -> tasks, in place of everything from `grid` to `measures`.
        figures, claims: functions of the study's rows.
        tiers: where the study is run.
    """

    name: str
    title: str = ""
    text: str = ""
    grid: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    replicates: int | Tiered[int] = 0
    network: Part[Network] | None = None
    data: Part[Pairs] | None = None
    optimizer: Part[Optimizer] | None = None
    loss: Part[LossFunction] | None = None
    draw: Part[Draw] | None = None
    batches: Part[Batches] | None = None
    stop: Part[EpochStop] | None = None
    decay: Part[Decay] | None = None
    rule: Part[Rule] | None = None
    augmentation: Part[Augmentation] | None = None
    iterations: Part[int] | None = None
    measures: Part[Sequence[Measure | Comparison]] = ()
    lockstep: bool = False
    dtypes: tuple[str, ...] | Tiered[tuple[str, ...]] = ("float64",)
    tasks: Callable[[Settings], Iterable[Task]] | None = None
    figures: tuple[Figure, ...] = ()
    claims: tuple[Claim, ...] = ()
    tiers: tuple[str, ...] = TIERS

    def __post_init__(self) -> None:
        """Refuse what no tier could run."""
        if not NAME.fullmatch(checks.text("study", self.name)):
            raise checks.InputError(f"study: expected a name of letters, digits, dots and dashes, found {self.name!r}")
        try:
            self._check_fields()
        except checks.InputError as problem:
            raise self._error(str(problem)) from problem
        if (self.tasks is None) == (self.network is None):
            raise self._error("expected either a network or tasks, found " + ("both" if self.tasks else "neither"))
        lacking = [name for name in ("data", "optimizer", "iterations") if getattr(self, name) is None]
        if self.network is not None and lacking:
            raise self._error(
                f"expected data, optimizer and iterations beside a network, found no {', '.join(lacking)}"
            )

    def _check_fields(self) -> None:
        """Each field by itself, and that what differs from tier to tier has a value at each."""
        checks.fields(
            self,
            title=checks.instance(str, "a text"),
            text=checks.instance(str, "a text"),
            grid=checks.instance(Mapping, "a mapping axis -> values"),
            seeds=checks.distinct(checks.seed),
            tasks=checks.optional(checks.function),
            figures=checks.each(checks.instance(Figure, "a Figure")),
            claims=checks.each(checks.instance(Claim, "a Claim")),
            tiers=checks.distinct(checks.among(TIERS)),
        )
        taken = sorted(RESERVED.intersection(self.grid))
        if taken:
            raise checks.InputError(
                f"grid: expected axes other than the columns of every row, found {', '.join(taken)}"
            )
        if self.lockstep and "depth" not in self.grid:
            found = ", ".join(self.grid) or "none"
            raise checks.InputError(f"lockstep: expected a grid with the axis depth, found {found}")
        for tier in self.tiers:
            self._check_tier(Settings(tier))

    def _check_tier(self, base: Settings) -> None:
        """That what differs from tier to tier has a value at this one, and the values that can be looked at before a plan is made."""
        for name in (part.name for part in dataclasses.fields(self)):
            with _named(name):
                value = base.pick(getattr(self, name))
            if name == "iterations" and not callable(value):
                checks.optional(checks.count)(name, value)
        Settings(base.tier, base.pick(self.replicates), base.pick(self.dtypes))
        for axis, values in self.grid.items():
            with _named(f"grid: {axis}"):
                _labelled(base.pick(values))

    def settings(self, tier: str, seeds: int | None = None, *, dtype: str | None = None) -> Settings:
        """What the study is run with at a tier, where `seeds` and `dtype` replace its own replicates and precisions."""
        checks.one_of("tier", tier, self.tiers)
        base = Settings(tier)
        replicates = base.pick(self.replicates) if seeds is None else seeds
        return Settings(tier, replicates, base.pick(self.dtypes) if dtype is None else (dtype,))

    def plan(self, tier: str, seeds: int | None = None, *, dtype: str | None = None) -> list[Task]:
        """The tasks of the study.

        Args:
            tier: which sizes.
            seeds: number of replicates in place of the study's own.
            dtype: the one precision in place of the study's own.

        Raises:
            InputError: the tier, an axis or a function of axes cannot be used.
        """
        try:
            settings = self.settings(tier, seeds, dtype=dtype)
            found = self._training(settings) if self.tasks is None else self.tasks(settings)
            tasks = list(checks.instance(Iterable, "a function that returns tasks")("tasks", found))
        except checks.InputError as problem:
            raise self._error(str(problem)) from problem
        for task in tasks:
            if not (dataclasses.is_dataclass(task) and all(hasattr(task, name) for name in TASK)):
                raise self._error(f"expected tasks (frozen dataclasses with {', '.join(TASK)}), found {task!r}")
        if not tasks:
            raise self._error(f"expected at least one task at tier {tier}, found none")
        return tasks

    def _error(self, text: str) -> checks.InputError:
        return checks.InputError(f"study {self.name}: {text}")

    def _training(self, settings: Settings) -> Iterator[Task]:
        """One training run per grid point and precision, or per group of depths in lockstep."""
        axes = self._axes(settings)
        depths = axes.pop("depth", {}) if self.lockstep else {}
        for labels in _product(axes):
            values = {axis: axes[axis][label] for axis, label in labels.items()}
            points = [values | {"depth": depth} for depth in depths.values()] if self.lockstep else [values]
            networks = tuple(self._at("network", settings, values=point) for point in points)
            yield self._run(settings, networks, labels=labels, values=values)

    def _run(
        self, settings: Settings, networks: tuple[Any, ...], *, labels: dict[str, Label], values: dict[str, Any]
    ) -> Task:
        """The training run at one point of the grid."""
        from deeplimit.training.run import TrainingRun

        parts = {
            name: self._at(name, settings, values=values) for name in ("data", "optimizer", "measures", "iterations")
        }
        measures = parts["measures"]
        parts["measures"] = tuple(measures) if isinstance(measures, tuple | list) else (measures,)
        optional = {name: self._at(name, settings, values=values) for name in OPTIONAL}
        given = {name: part for name, part in optional.items() if part is not None}
        # The rows of a training run say their depth themselves.
        others = {axis: label for axis, label in labels.items() if axis != "depth"}
        seeds = settings.seeds(*self.seeds)
        run: Task = TrainingRun(networks=networks, **parts, **given, seeds=seeds, dtype=values["dtype"], labels=others)
        return run

    def _axes(self, settings: Settings) -> dict[str, dict[Label, Any]]:
        """Axis -> label -> value at this tier; the precision is the last axis."""
        axes = {}
        for axis, values in {**self.grid, "dtype": settings.dtypes}.items():
            axes[axis] = _labelled(settings.pick(values))
            if not axes[axis]:
                raise checks.InputError(
                    f"grid: expected at least one value of {axis} at tier {settings.tier}, found none"
                )
        return axes

    def _at(self, part: str, settings: Settings, *, values: Mapping[str, Any]) -> Any:
        """A part of the study at a point of the grid: a value as it is, a function called with the axes it names."""
        value = settings.pick(getattr(self, part))
        if not inspect.isfunction(value):
            return value
        parameters = inspect.signature(value).parameters.values()
        named = [p.name for p in parameters if p.default is p.empty or p.name in values]
        unknown = [name for name in named if name not in values]
        if unknown:
            held = "; the depths of a lockstep run share everything but the network" if self.lockstep else ""
            raise checks.InputError(
                f"{part}: expected a value or a function of the axes {', '.join(values)}{held}; found {', '.join(unknown)}"
            )
        return value(**{name: values[name] for name in named})


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Let an error say which part of the study it is about."""
    try:
        yield
    except checks.InputError as problem:
        raise checks.InputError(f"{name}: {problem}") from problem


def _labelled(values: Any) -> dict[Label, Any]:
    """Values by the label that stands in the rows: numbers and text for themselves, a dict as it is, others by their text."""
    if isinstance(values, Mapping):
        return dict(values)
    if isinstance(values, str):
        raise checks.InputError(f"expected a tuple of values such as ({values!r},), found {values!r}")
    items = values if isinstance(values, Sequence) else (values,)
    if any(item != item for item in items):
        raise checks.InputError("expected values that equal themselves, found nan")
    return {item if isinstance(item, str | int | float) else str(item): item for item in items}


def _product(axes: Mapping[str, Mapping[Label, Any]]) -> Iterator[dict[str, Label]]:
    """All points of a grid, the last axis fastest."""
    for point in itertools.product(*axes.values()):
        yield dict(zip(axes, point, strict=True))
