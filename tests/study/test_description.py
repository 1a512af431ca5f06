from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from deeplimit.branches import Perceptron
from deeplimit.checks import InputError
from deeplimit.data import GaussianPairs
from deeplimit.draws import NamedDraw, SequentialDraw
from deeplimit.measures import Loss
from deeplimit.networks import ResidualStack
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import Batches, EpochStop, GradientFlow, StepDecay, TrainingRun


def stack(depth: int) -> ResidualStack:
    return ResidualStack(Perceptron(state=2, width=3), depth=depth)


def training(**changes) -> Study:
    parts: dict[str, Any] = {
        "grid": {"depth": (2, 4)},
        "network": stack,
        "data": GaussianPairs(3, 2, 2),
        "optimizer": GradientFlow(0.1),
        "iterations": 5,
    }
    return Study("gap", **(parts | changes))


def runs(study: Study, tier: str = "quick", **options) -> list[TrainingRun]:
    planned = study.plan(tier, **options)
    assert all(isinstance(run, TrainingRun) for run in planned)
    return planned  # type: ignore[return-value]


def test_one_run_per_point_of_the_grid_with_all_seeds_in_it():
    study = training(
        grid={"depth": (2, 4), "width": (3, 5)},
        network=lambda depth, width: ResidualStack(Perceptron(state=2, width=width), depth=depth),
        seeds=(7,),
        replicates=Tiered(quick=1, paper=2),
        iterations=Tiered(quick=5, paper=50),
    )
    planned = runs(study)
    assert [(run.networks[0].depth, run.labels["width"]) for run in planned] == [(2, 3), (2, 5), (4, 3), (4, 5)]
    assert {run.seeds for run in planned} == {(7, 1000)}
    assert {run.iterations for run in planned} == {5}
    assert {(run.seeds, run.iterations) for run in runs(study, "paper")} == {((7, 1000, 1001), 50)}
    assert {run.seeds for run in runs(study, seeds=0)} == {(7,)}


def test_labels_are_the_axes_but_depth_which_rows_say_themselves():
    assert [run.labels for run in runs(training(dtypes=("float32", "float64")))] == 2 * [
        {"dtype": "float32"},
        {"dtype": "float64"},
    ]
    assert {run.dtype for run in runs(training(dtypes=("float32", "float64")), dtype="float64")} == {"float64"}


def test_objects_go_by_the_label_of_a_dict_or_by_their_text():
    flows = {"slow": GradientFlow(0.01), "fast": GradientFlow(0.1)}
    planned = runs(training(grid={"depth": (2,), "flow": flows}, optimizer=lambda flow: flow))
    assert [(run.labels["flow"], run.optimizer) for run in planned] == list(flows.items())
    (run,) = runs(training(grid={"depth": (2,), "flow": (flows["slow"],)}, optimizer=lambda flow: flow))
    assert run.labels["flow"] == str(flows["slow"])


def test_in_lockstep_all_depths_are_one_run():
    (run,) = runs(training(lockstep=True))
    assert [network.depth for network in run.networks] == [2, 4]
    assert run.labels == {"dtype": "float64"}


def test_what_is_not_given_is_left_to_the_run():
    (run,) = runs(training(grid={"depth": (2,)}))
    assert run.draw == NamedDraw()
    (run,) = runs(training(grid={"depth": (2,)}, draw=SequentialDraw()))
    assert run.draw == SequentialDraw()


def test_a_default_of_a_function_stands_unless_an_axis_has_its_name():
    def network(depth: int, width: int = 3) -> ResidualStack:
        return ResidualStack(Perceptron(state=2, width=width), depth=depth)

    assert runs(training(network=network))[0].networks[0] == network(2)
    assert runs(training(grid={"depth": (2,), "width": (9,)}, network=network))[0].networks[0] == network(2, 9)


@dataclass(frozen=True)
class NoTask:
    pass


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": lambda deep: stack(deep)}, "network: .*functions? of the axes depth, dtype; found deep"),
        ({"grid": {"depth": ()}}, "grid: expected at least one value of depth at tier quick"),
        (
            {"grid": {"depth": Tiered(paper=(2,))}},
            "grid: depth: expected a value for tier quick, found those for paper",
        ),
        ({"lockstep": True, "data": lambda depth: depth}, "share everything but the network; found depth"),
        ({"network": lambda depth: stack(0)}, "study gap: depth: expected an integer of at least 1"),
        ({"tiers": ("paper",)}, "tier: expected one of paper"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_the_studys_name(changes, message):
    with pytest.raises(InputError, match=f"study gap: .*{message.removeprefix('study gap: ')}"):
        training(**changes).plan("quick")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "a b"}, "name of letters"),
        ({}, "either a network or tasks, found neither"),
        ({"network": stack, "tasks": list}, "found both"),
        ({"network": stack, "data": 1}, "found no optimizer, iterations"),
        ({"tasks": list, "grid": {"seed": (1,), "value": (2,)}}, "found seed, value"),
        ({"tasks": list, "lockstep": True}, "axis depth, found none"),
    ],
)
def test_what_no_tier_could_run_is_refused_at_once(fields, message):
    with pytest.raises(InputError, match=message):
        Study(**({"name": "gap"} | fields))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 3}, r"seeds: expected a tuple such as \(3,\), found 3"),
        ({"seeds": (1, 1)}, "seeds: expected different ones, found 1 twice"),
        ({"seeds": (1.5,)}, "seeds: expected an integer of at least 0, found 1.5"),
        ({"replicates": 10**6}, "replicates: expected an integer from 0 to 10000, found 1000000"),
        ({"grid": {"depth": "2,4"}}, "grid: depth: expected a tuple of values such as .*, found '2,4'"),
        ({"grid": {"rate": (float("nan"),)}}, "grid: rate: expected values that equal themselves, found nan"),
        ({"grid": 3}, "grid: expected a mapping axis -> values, found 3"),
        ({"iterations": Tiered(quick=3)}, "iterations: expected a value for tier paper, found those for quick"),
        ({"iterations": 2.5}, "iterations: expected an integer of at least 0, found 2.5"),
        ({"claims": 3}, "claims: expected a tuple such as"),
        ({"figures": ("a",)}, "figures: expected a Figure, found 'a'"),
        ({"tiers": ("fast",)}, "tiers: expected one of full, paper, quick; found 'fast'"),
        ({"dtypes": ("float16",)}, "dtypes: expected one of .*; found 'float16'"),
    ],
)
def test_a_part_of_another_kind_is_refused_when_the_study_is_made(changes, message):
    training()
    with pytest.raises(InputError, match=f"^study gap: {message}") as caught:
        training(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measures": None}, r"measures: expected a measure such as Loss\(\), found None"),
        ({"measures": (Loss,)}, r"measures: expected a measure .* \(the class; call it\)"),
        ({"measures": (Loss(at=10),)}, r"at of Loss: expected a schedule such as Every\(10\), found 10"),  # type: ignore[arg-type]
        ({"optimizer": "SGD"}, "optimizer: expected an optimiser .*, found 'SGD'"),
        ({"batches": 32}, r"batches: expected mini-batches such as Batches\(32\), found 32"),
        ({"network": lambda depth: Perceptron(2, 3)}, "networks: expected a network .*, found Perceptron"),
        ({"iterations": lambda depth: -depth}, "iterations: expected an integer of at least 0, found -2"),
    ],
)
def test_a_part_of_another_kind_is_refused_when_the_study_is_planned(changes, message):
    with pytest.raises(InputError, match=f"^study gap: {message}"):
        training(**changes).plan("quick")


def test_tasks_of_any_kind_are_given_the_settings():
    seen: list[Settings] = []
    study = Study("any", tasks=lambda settings: seen.append(settings) or [], replicates=2)  # type: ignore[func-returns-value]
    with pytest.raises(InputError, match="at least one task at tier quick, found none"):
        study.plan("quick", dtype="float32")
    assert seen == [Settings("quick", 2, ("float32",))]
    with pytest.raises(InputError, match=r"expected tasks .*found NoTask\(\)"):
        Study("any", tasks=lambda settings: [NoTask()]).plan("quick")  # type: ignore[list-item]


def test_batches_stop_and_decay_reach_the_runs():
    (plain, *_) = runs(training())
    assert (plain.batches, plain.stop, plain.decay) == (None, None, None)
    study = training(
        batches=lambda depth: Batches(depth),
        stop=Tiered(quick=EpochStop(0.5), paper=EpochStop(0.1)),
        decay=StepDecay(2, 0.1),
    )
    assert [run.batches for run in runs(study)] == [Batches(2), Batches(4)]
    assert {run.stop for run in runs(study, "paper")} == {EpochStop(0.1)}
    assert {run.decay for run in runs(study)} == {StepDecay(2, 0.1)}


def test_a_function_of_the_study_that_returns_no_tasks_is_named():
    with pytest.raises(InputError, match="study any: tasks: expected a function that returns tasks, found None"):
        Study("any", tasks=lambda settings: None).plan("quick")  # type: ignore[arg-type, return-value]
