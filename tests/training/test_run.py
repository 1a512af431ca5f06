from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch

from deeplimit.branches import OneMatrix, Perceptron, SiLU, Tanh
from deeplimit.checks import InputError
from deeplimit.data import GaussianPairs, SpherePairs
from deeplimit.draws import SequentialDraw
from deeplimit.engines import select
from deeplimit.measures import At, Drift, Every, LayerGaps, Loss, PLRatio, SeedSpread, StateDistance, WeightDistance
from deeplimit.networks import Dense, ResidualStack, ensemble
from deeplimit.processes import IID, GaussianProcess, Normal, Tied, Zero
from deeplimit.records import Checkpoint, Context, Row
from deeplimit.training import SGD, Adam, CoordinateClip, GradientFlow, SquaredError, Step, TorchOptimizer, TrainingRun

SHALLOW = ResidualStack(Perceptron(3, 4, Tanh()), 3, init=IID(Normal(0.7)), embedding=Dense(2, 3, 1.0))
PAIRS = GaussianPairs(6, 2, 3)
RUN = TrainingRun((SHALLOW,), PAIRS, GradientFlow(0.05), 6, (Loss(),), (0, 1, 2))


def rows(run: TrainingRun, **context: object) -> list[Row]:
    return list(run.run(Context(**context)))  # type: ignore[arg-type]


def replace(run: TrainingRun, **changes: object) -> TrainingRun:
    return dataclasses.replace(run, **changes)  # type: ignore[arg-type]


def table(found: list[Row], quantity: str) -> dict[tuple[object, ...], float]:
    """(depth, seed, iteration, index) -> value."""
    chosen = [row for row in found if row["quantity"] == quantity]
    keyed = {(r["depth"], r["seed"], r["iteration"], r.get("index")): r["value"] for r in chosen}
    assert len(keyed) == len(chosen)
    return keyed  # type: ignore[return-value]


def values(found: list[Row], quantity: str) -> list[object]:
    return [row["value"] for row in found if row["quantity"] == quantity]


# --- rows ---


def test_rows_hold_every_iteration_before_its_update_and_the_last():
    found = rows(RUN)
    assert {tuple(row) for row in found} == {("depth", "seed", "iteration", "quantity", "value")}
    assert set(table(found, "loss")) == {(3, seed, t, None) for seed in (0, 1, 2) for t in range(7)}
    assert {type(row["value"]) for row in found} == {float}


def test_the_rows_are_those_of_steps_made_one_by_one():
    found = table(rows(RUN), "loss")
    params = ensemble([SHALLOW.initialise(seed, dtype=torch.float64) for seed in RUN.seeds])
    pairs = [PAIRS.sample(RUN.draw.stream(seed)) for seed in RUN.seeds]
    x, y = (torch.stack([pair[i] for pair in pairs]).double() for i in (0, 1))
    step = Step(SHALLOW, RUN.optimizer)
    state = step.start(params)
    for t in range(7):
        state, info = step(state, (x, y))
        assert info.loss.tolist() == [found[3, seed, t, None] for seed in RUN.seeds]


def test_measures_are_taken_when_they_ask_to_be():
    measures = (Loss(At((2, 5))), LayerGaps(Every(3)), Drift(At(())))
    found = rows(replace(RUN, measures=measures))
    asked = {(row["quantity"], row["iteration"]) for row in found}
    assert {t for q, t in asked if q == "loss"} == {2, 5}
    assert {t for q, t in asked if q == "gap"} == {0, 3, 6}
    assert not any(str(q).startswith("drift") for q, _ in asked)


def test_an_indexed_observation_is_a_row_per_index():
    class Layers(Loss):
        def observe(self, view, memory):
            from deeplimit.measures import Observation

            yield Observation("sum", view.params["V"].sum((2, 3)), [1, 2, 3])

    found = rows(replace(RUN, measures=(Layers(At((0,))),)))
    expected = [SHALLOW.initialise(seed, dtype=torch.float64)["V"].sum((1, 2)) for seed in RUN.seeds]
    assert [(r["seed"], r["index"]) for r in found] == [(s, k) for s in (0, 1, 2) for k in (1, 2, 3)]
    assert values(found, "sum") == [pytest.approx(float(v)) for member in expected for v in member]


def test_no_iterations_are_one_look_at_the_start():
    assert [row["iteration"] for row in rows(replace(RUN, iterations=0))] == [0, 0, 0]


def test_running_again_gives_the_same_bits():
    run = replace(RUN, measures=(Loss(), LayerGaps(), PLRatio()))
    assert rows(run) == rows(run)
    assert rows(run) != rows(replace(run, seeds=(0, 1, 3)))


def test_rates_per_member_are_a_column():
    found = rows(replace(RUN, optimizer=GradientFlow((0.01, 0.05)), seeds=(7, 7)))
    assert {(row["seed"], row["learning_rate"]) for row in found} == {(7, 0.01), (7, 0.05)}
    assert not any("learning_rate" in row for row in rows(RUN))


# --- an ensemble, and depths in lock-step, are the separate runs ---

MEASURES = (Loss(residuals=True), LayerGaps(), PLRatio(), Drift(Every(2)))


@pytest.mark.parametrize(
    "optimizer",
    [GradientFlow, lambda r: SGD(r, momentum=0.9), Adam, lambda r: GradientFlow(r, CoordinateClip(0.2))],
    ids=["flow", "momentum", "adam", "clipped"],
)
def test_an_ensemble_equals_the_separate_runs(optimizer):
    rates = (0.05, 0.01, 0.002)
    together = rows(replace(RUN, measures=MEASURES, optimizer=optimizer(rates)))
    separate: list[Row] = []
    for seed, rate in zip(RUN.seeds, rates, strict=True):
        alone = rows(replace(RUN, measures=MEASURES, optimizer=optimizer(rate), seeds=(seed,)))
        separate += [{**row, "learning_rate": rate} for row in alone]
    assert len(together) == len(separate)
    known = {tuple(v for k, v in row.items() if k != "value"): row["value"] for row in map(ordered, separate)}
    for row in map(ordered, together):
        key = tuple(v for k, v in row.items() if k != "value")
        assert row["value"] == pytest.approx(known[key], rel=1e-12, abs=1e-15)


def ordered(row: Row) -> Row:
    return dict(sorted(row.items()))


def test_depths_in_lock_step_are_the_separate_depths_to_the_last_bit():
    networks = tuple(SHALLOW.at_depth(depth) for depth in (3, 5))
    together = rows(replace(RUN, networks=networks, measures=MEASURES))
    for network in networks:
        alone = rows(replace(RUN, networks=(network,), measures=MEASURES))
        assert [row for row in together if row["depth"] == network.depth] == alone


def test_comparisons_see_every_depth_beside_the_deepest():
    networks = tuple(SHALLOW.at_depth(depth) for depth in (4, 8, 2))
    found = rows(replace(RUN, networks=networks, measures=(WeightDistance(Every(3)), StateDistance(At((6,))))))
    assert {(r["depth"], r["iteration"]) for r in found if r["quantity"] == "distance.l2.V"} == {
        (d, t) for d in (4, 2) for t in (0, 3, 6)
    }
    assert {(r["depth"], r["iteration"]) for r in found if r["quantity"] == "distance.states"} == {(4, 6), (2, 6)}


# --- what a run says about itself ---


def test_final_weights_and_facts_stay_in_the_context():
    context = Context()
    list(RUN.run(context))
    assert context.provenance["engine"] == select("auto", RUN.networks[0].branch).title
    assert {name: w.shape for name, w in context.weights.items()} == {
        "3/V": (3, 3, 3, 4),
        "3/W": (3, 3, 4, 3),
        "3/embedding": (3, 3, 2),
    }
    assert not (context.weights["3/V"] == SHALLOW.initialise(0)["V"].numpy()).any()
    again, other = Context(engine="reference"), Context()
    list(RUN.run(again))
    list(replace(RUN, seeds=(0, 1, 5)).run(other))
    assert again.provenance["engine"] == "reference"
    assert again.provenance["data"] == context.provenance["data"] != other.provenance["data"]


def test_engines_agree_along_the_run():
    fast, slow = rows(RUN, engine="torch"), rows(RUN, engine="reference")
    assert values(fast, "loss") == pytest.approx(values(slow, "loss"), rel=1e-12)


def test_both_precisions_start_from_the_same_numbers():
    single, double = rows(replace(RUN, dtype="float32")), rows(RUN)
    assert values(single, "loss") == pytest.approx(values(double, "loss"), rel=1e-5)
    assert values(single, "loss") != values(double, "loss")
    context = Context()
    list(replace(RUN, dtype="float32").run(context))
    assert {str(w.dtype) for w in context.weights.values()} == {"float32"}


def test_labels_are_no_part_of_the_run():
    assert replace(RUN, labels={"init": "tied"}) == RUN
    assert replace(RUN, iterations=7) != RUN


def test_cost_grows_with_what_is_computed():
    cost = RUN.cost()
    assert cost.layer_steps == 3 * 3 * 7
    assert replace(RUN, networks=(SHALLOW, SHALLOW.at_depth(7))).cost().layer_steps == 10 * 3 * 7
    assert 0 < cost.memory_bytes < replace(RUN, seeds=tuple(range(9))).cost().memory_bytes
    assert replace(RUN, dtype="float32").cost().memory_bytes == cost.memory_bytes / 2
    assert 0 < cost.disk_bytes < 1e6


def test_a_probe_expects_seconds_in_proportion_and_leaves_nothing_behind(tmp_path):
    context = Context(checkpoint=Checkpoint(tmp_path / "run.safetensors", every=0.0), progress=refuse)
    long = replace(RUN, iterations=6_999)
    assert 0 < long.probe(context) < 600
    assert list(tmp_path.iterdir()) == []
    assert context.weights == {}
    assert context.provenance == {}


def refuse(fraction: float) -> None:
    raise AssertionError("a probe reports no progress")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"networks": ()}, "run: expected at least one network and one seed, found 0 and 3"),
        ({"seeds": ()}, "run: expected at least one network and one seed, found 1 and 0"),
        ({"networks": (SHALLOW, SHALLOW)}, r"networks: expected different depths, found \[3, 3\]"),
        ({"iterations": -1}, "iterations: expected a number of at least 0, found -1"),
        ({"dtype": "float16"}, "dtype: expected one of .*float32.*; found 'float16'"),
    ],
)
def test_what_is_no_run_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        replace(RUN, **changes)


def test_an_unknown_engine_is_refused_before_work():
    with pytest.raises(InputError, match=r"engine: expected one of .*; found 'fast'"):
        rows(RUN, engine="fast")


# --- the draw of the released scripts ---

RELEASED = ResidualStack(
    Perceptron(16, 32, normalised=False), 16, init={"V": Zero(), "W": Tied(Normal(transposed=True))}
)


def captured(run: TrainingRun):
    """The weights and the data that a run starts from."""
    seen: dict[str, torch.Tensor] = {}

    class Look(Loss):
        def observe(self, view, memory):
            seen.update(view.params, x=view.x, y=view.y)
            yield from ()

    list(replace(run, iterations=0, measures=(Look(),)).run(Context()))
    return seen


def test_the_released_draw_order_of_figure_1():
    run = TrainingRun(
        (RELEASED,), GaussianPairs(100, 16, 16), GradientFlow(0.01), 0, (), (2,), draw=SequentialDraw(), dtype="float32"
    )
    seen = captured(run)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        W, X, Y = torch.randn(16, 32).T, torch.randn(100, 16), torch.randn(100, 16)
    assert all(torch.equal(layer, W) for layer in seen["W"][0])
    assert not seen["V"].any()
    assert torch.equal(seen["x"][0], X)
    assert torch.equal(seen["y"][0], Y)
    double = captured(replace(run, dtype="float64"))
    assert torch.equal(double["x"].float(), seen["x"])


def test_the_released_draw_order_of_figure_2():
    network = ResidualStack(
        Perceptron(16, 64, normalised=False), 4, init={"V": Zero(), "W": Tied(Normal(transposed=True))}
    )
    data = GaussianPairs(50, 16, 16, skip=(16, 16))
    seen = captured(
        TrainingRun((network,), data, GradientFlow(0.01), 0, (), (0,), draw=SequentialDraw(), dtype="float32")
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        W, _, X, Y = torch.randn(16, 64).T, torch.randn(16, 16), torch.randn(50, 16), torch.randn(50, 16)
    assert torch.equal(seen["W"][0, 3], W)
    assert torch.equal(seen["x"][0], X)
    assert torch.equal(seen["y"][0], Y)


def test_the_order_is_the_same_for_every_member():
    seen = captured(
        TrainingRun((RELEASED,), GaussianPairs(5, 16, 16), GradientFlow(0.01), 0, (), (2, 3, 2), draw=SequentialDraw())
    )
    assert torch.equal(seen["x"][0], seen["x"][2])
    assert torch.equal(seen["W"][0], seen["W"][2])
    assert not torch.equal(seen["x"][0], seen["x"][1])


@pytest.mark.parametrize("data", [GaussianPairs(5, 2, 3, skip=(4,)), SpherePairs(5, 2, 3, radius=1.0)])
@pytest.mark.parametrize("init", [IID(), Tied(), GaussianProcess()])
def test_the_global_generator_is_never_touched(data, init):
    before = torch.get_rng_state()
    first = rows(replace(RUN, data=data, networks=(dataclasses.replace(SHALLOW, init=init),)))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(123)
    assert rows(replace(RUN, data=data, networks=(dataclasses.replace(SHALLOW, init=init),))) == first


@pytest.mark.parametrize(("depth", "published"), [(16, 0.162), (64, 0.0815)])
def test_the_published_statistic_of_figure_1_left(depth, published):
    """Seed 2, 50 iterations, the released conventions: 0.1622 at L = 16 when the script is run again; 2 % is asked for."""
    run = TrainingRun(
        (RELEASED.at_depth(depth),),
        GaussianPairs(100, 16, 16),
        GradientFlow(0.01),
        50,
        (LayerGaps(At((50,))),),
        (2,),
        SquaredError(per_entry=True),
        SequentialDraw(),
    )
    (aggregate,), (largest,) = (values(rows(run), quantity) for quantity in ("gap.aggregate", "gap.max"))
    assert aggregate == pytest.approx(published, rel=0.02)
    # The maximum that the figure's label speaks of: 0.01241 and 0.003075 in an independent run.
    assert largest == pytest.approx({16: 0.01241, 64: 0.003075}[depth], rel=0.005)


# --- divergence ---

WILD = (0.01, 1e80, 0.02)


def test_a_member_that_diverges_is_recorded_once_and_then_silent():
    found = rows(replace(RUN, optimizer=GradientFlow(WILD)))
    (mark,) = (row for row in found if row["quantity"] == "diverged")
    assert (mark["depth"], mark["seed"], mark["value"], mark["learning_rate"]) == (3, 1, 1.0, 1e80)
    alone = rows(replace(RUN, optimizer=GradientFlow(1e80), seeds=(1,)))
    assert mark["iteration"] == len(values(alone, "loss")) >= 1
    losses = table(found, "loss")
    assert [t for (_, seed, t, _) in losses if seed == 1] == list(range(mark["iteration"]))
    assert all(math.isfinite(value) for value in losses.values())
    assert [t for (_, seed, t, _) in losses if seed == 2] == list(range(7))


@pytest.mark.parametrize(
    "build", [GradientFlow, lambda r: SGD(r, momentum=0.9), Adam], ids=["flow", "momentum", "adam"]
)
def test_the_others_go_on_as_if_it_were_not_there(build):
    measures = (Loss(), LayerGaps(), PLRatio())
    found = rows(replace(RUN, optimizer=build((0.01, math.inf, 0.02)), measures=measures))
    assert values(found, "diverged") == [1.0]
    calm = rows(replace(RUN, optimizer=build((0.01, 0.015, 0.02)), measures=measures))
    assert values(calm, "diverged") == []
    assert [r for r in found if r["seed"] != 1] == [r for r in calm if r["seed"] != 1]  # to the last bit
    without = rows(replace(RUN, optimizer=build((0.01, 0.02)), seeds=(0, 2), measures=measures))
    assert values([r for r in found if r["seed"] != 1], "loss") == pytest.approx(values(without, "loss"), rel=1e-12)


def test_a_run_of_which_nothing_is_left_stops():
    fractions: list[float] = []
    found = rows(replace(RUN, optimizer=GradientFlow(1e80), iterations=10_000), progress=fractions.append)
    marks = {row["seed"]: row["iteration"] for row in found if row["quantity"] == "diverged"}
    assert marks.keys() == {0, 1, 2}
    assert [len(fractions)] == [max(marks.values())]  # type: ignore[type-var]
    assert len(fractions) < 10


def test_a_start_that_is_not_finite_diverges_at_once():
    network = dataclasses.replace(SHALLOW, embedding=Dense(2, 3, 1e200))
    found = rows(replace(RUN, networks=(network,), dtype="float32"))
    assert [(row["quantity"], row["iteration"]) for row in found] == [("diverged", 0)] * 3


def test_the_spread_over_seeds_is_over_those_that_are_left():
    found = rows(replace(RUN, optimizer=GradientFlow(WILD), measures=(SeedSpread(Every(1)),)))
    last = [row for row in found if row["iteration"] == 6]
    assert {row["seed"] for row in last} == {0, 2}
    assert all(math.isfinite(value) for value in values(last, "spread.outputs") + values(last, "spread.states"))  # type: ignore[arg-type]
    without = rows(replace(RUN, optimizer=GradientFlow((0.01, 0.02)), seeds=(0, 2), measures=(SeedSpread(Every(1)),)))
    assert values(last, "spread.states") == pytest.approx(
        values([row for row in without if row["iteration"] == 6], "spread.states"), rel=1e-11
    )


def test_nothing_is_compared_with_a_reference_that_has_diverged():
    network = ResidualStack(Perceptron(2, 3, SiLU()), 2, init=IID())
    run = replace(
        RUN, networks=(network, network.at_depth(8)), data=GaussianPairs(3, 2, 2), iterations=12, seeds=tuple(range(6))
    )
    found = rows(replace(run, optimizer=GradientFlow(3.0), measures=(WeightDistance(Every(1)), Loss())))
    ends = {(row["depth"], row["seed"]): row["iteration"] for row in found if row["quantity"] == "diverged"}
    own, reference = ([ends.get((depth, seed), 13) for seed in range(6)] for depth in (2, 8))
    assert any(r < o for r, o in zip(reference, own, strict=True))  # type: ignore[operator]
    assert any(r > o for r, o in zip(reference, own, strict=True))  # type: ignore[operator]
    compared = {(row["seed"], row["iteration"]) for row in found if row["quantity"] == "distance.l2.W"}
    assert compared == {(seed, t) for seed in range(6) for t in range(min(own[seed], reference[seed]))}  # type: ignore[call-overload]


# --- killed and resumed ---


class KilledError(Exception):
    """What stands for kill -9."""


def killer(after: int) -> Callable[[float], None]:
    calls: list[float] = []

    def progress(fraction: float) -> None:
        calls.append(fraction)
        if len(calls) > after:
            raise KilledError

    return progress


MEMORIES = (Loss(), LayerGaps(Every(2)), PLRatio(), Drift(Every(3)), SeedSpread(Every(2)), WeightDistance(Every(2)))
RESUMED: dict[str, TrainingRun] = {
    "flow": replace(RUN, measures=MEMORIES, networks=(SHALLOW, SHALLOW.at_depth(5))),
    "clipped": replace(RUN, measures=MEMORIES, optimizer=GradientFlow(0.05, CoordinateClip(0.1))),
    "momentum": replace(RUN, measures=MEMORIES, optimizer=SGD(0.05, momentum=0.9, weight_decay=0.1)),
    "adam": replace(RUN, measures=MEMORIES, optimizer=Adam((0.05, 0.01, 0.02))),
    "adamw": replace(RUN, measures=MEMORIES, optimizer=Adam(0.05, weight_decay=0.1, decoupled=True)),
    "rmsprop": replace(
        RUN, measures=MEMORIES, seeds=(4,), optimizer=TorchOptimizer("RMSprop", 0.05, {"momentum": 0.5})
    ),
    "nadam": replace(RUN, measures=MEMORIES, seeds=(4,), optimizer=TorchOptimizer("NAdam", 0.05)),
    "float32": replace(RUN, measures=MEMORIES, dtype="float32", optimizer=Adam(0.05)),
    "shared-delta": replace(
        RUN,
        networks=(
            ResidualStack(OneMatrix(2, delta="shared"), 3, init=IID()),
            ResidualStack(OneMatrix(2, delta="shared"), 4, init=IID()),
        ),
        data=GaussianPairs(6, 2, 2),
        measures=MEMORIES,
        draw=SequentialDraw(),
        optimizer=SGD(0.05, momentum=0.9, layer_factor=True),
    ),
    "diverging": replace(RUN, measures=MEMORIES, optimizer=GradientFlow(WILD)),
}


@pytest.mark.parametrize("run", RESUMED.values(), ids=RESUMED)
def test_a_run_killed_at_any_iteration_goes_on_to_the_same_bits(run, tmp_path):
    undisturbed, context = rows(run), Context()
    list(run.run(context))
    for after in range(run.iterations):
        path = tmp_path / f"{after}.safetensors"
        with pytest.raises(KilledError):
            rows(run, checkpoint=Checkpoint(path, every=0.0), progress=killer(after))
        assert path.exists() is (after > 0)
        fractions: list[float] = []
        resumed = Context(checkpoint=Checkpoint(path, every=0.0), progress=fractions.append)
        assert list(run.run(resumed)) == undisturbed
        assert fractions == [t / (run.iterations + 1) for t in range(after + 1, run.iterations + 1)]
        assert all((resumed.weights[name] == w).all() for name, w in context.weights.items())


def test_a_run_killed_again_and_again_comes_to_its_end(tmp_path):
    run, kills = RESUMED["adam"], 0
    while True:
        try:
            found = rows(run, checkpoint=Checkpoint(tmp_path / "run", every=0.0), progress=killer(1))
            break
        except KilledError:
            kills += 1
    assert found == rows(run)
    assert kills == run.iterations - 1


def test_a_run_whose_checkpoint_is_not_due_starts_again(tmp_path):
    path = tmp_path / "run.safetensors"
    with pytest.raises(KilledError):
        rows(RUN, checkpoint=Checkpoint(path, every=1e6), progress=killer(3))
    assert not path.exists()
    assert rows(RUN, checkpoint=Checkpoint(path, every=1e6)) == rows(RUN)
