from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable

import pytest
import torch

from deeplimit.branches import OneMatrix, Perceptron, SiLU, Tanh
from deeplimit.checks import InputError
from deeplimit.data import Chain, Flip, GaussianPairs, PaddedCrop, Pairs, SpherePairs
from deeplimit.draws import NamedDraw, SequentialDraw
from deeplimit.engines import select
from deeplimit.measures import (
    At,
    BatchMeans,
    Drift,
    Every,
    FullLoss,
    HeldOut,
    Last,
    LayerGaps,
    Loss,
    PLRatio,
    SeedSpread,
    Smoothness,
    StateDistance,
    WeightDistance,
)
from deeplimit.networks import ConvolutionalStack, Dense, ResidualStack, as_stack, ensemble
from deeplimit.processes import IID, GaussianProcess, Normal, Tied, Zero
from deeplimit.records import Checkpoint, Context, Row, canonical
from deeplimit.training import (
    SGD,
    Adam,
    Batches,
    CoordinateClip,
    CosineDecay,
    CrossEntropy,
    EpochStop,
    GradientFlow,
    SquaredError,
    Step,
    StepDecay,
    TorchOptimizer,
    TrainingRun,
)
from deeplimit.training.l2 import PublishedRule, RobustRule

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
    assert context.provenance["engine"] == select("auto", as_stack(RUN.networks[0]).branch).title
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


def test_a_probe_of_many_members_samples_a_few(monkeypatch):
    seen: list[int] = []

    def seconds(run, context):
        seen.append(len(run.seeds))
        return 1.0

    monkeypatch.setattr("deeplimit.training.run._seconds", seconds)
    rates = tuple(0.01 for _ in range(1600))
    many = replace(RUN, seeds=tuple(range(1600)), optimizer=GradientFlow(rates))
    assert many.probe(Context()) == 100 * replace(RUN, seeds=tuple(range(16))).probe(Context())
    assert set(seen) == {16}
    replace(RUN, seeds=tuple(range(9))).probe(Context())
    assert seen[-1] == 9


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
        ({"iterations": -1}, "iterations: expected an integer of at least 0, found -1"),
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
    found = rows(replace(RUN, optimizer=build((0.01, 1e300, 0.02)), measures=measures))
    assert values(found, "diverged") == [1.0]
    calm = rows(replace(RUN, optimizer=build((0.01, 0.015, 0.02)), measures=measures))
    assert values(calm, "diverged") == []
    assert [r for r in found if r["seed"] != 1] == [r for r in calm if r["seed"] != 1]  # to the last bit
    without = rows(replace(RUN, optimizer=build((0.01, 0.02)), seeds=(0, 2), measures=measures))
    assert values([r for r in found if r["seed"] != 1], "loss") == pytest.approx(values(without, "loss"), rel=1e-12)


def test_a_loss_that_is_not_finite_at_the_end_is_seen_though_nothing_is_measured():
    run = replace(RUN, optimizer=GradientFlow(WILD), measures=())
    ((_, _, end, _),) = table(rows(run), "diverged")
    assert len(rows(replace(run, iterations=end))) == 1
    assert rows(replace(run, iterations=end - 1)) == []  # type: ignore[operator]


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


# --- mini-batches ---

BATCHED = replace(RUN, optimizer=Adam(0.05), batches=Batches(4), iterations=7)  # batches of 4 and 2 samples


def weights(run: TrainingRun) -> dict[str, torch.Tensor]:
    """The final weights."""
    context = Context()
    list(run.run(context))
    return {name: torch.from_numpy(array) for name, array in context.weights.items()}


def plain_loop(run: TrainingRun, seed: int, *, rate: float) -> tuple[dict[str, torch.Tensor], list[float]]:
    """The final weights and the losses of a PyTorch loop with the same batches."""
    assert run.batches is not None
    x, y = (tensor.double() for tensor in PAIRS.sample(run.draw.stream(seed)))
    module = SHALLOW.module(seed, dtype=torch.float64, engine="reference")
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    losses = []
    for t in range(run.iterations):
        epoch, number = divmod(t, 2)
        if run.decay is not None:
            for group in optimizer.param_groups:
                group["lr"] = rate * run.decay.factor_at(epoch)
        chosen = run.batches.order_of(6, seed=seed, epoch=epoch).split(4)[number]
        loss = (module(x[chosen]) - y[chosen]).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {f"3/{name}": p.detach() for name, p in module.named_parameters()}, losses


@pytest.mark.parametrize("decay", [None, StepDecay(2, 0.1)])
@pytest.mark.parametrize("order", ["shuffled", "fixed"])
def test_mini_batches_are_those_of_a_plain_loop(order, decay):
    run = replace(BATCHED, batches=Batches(4, order), decay=decay)
    final, found = weights(run), table(rows(run), "loss")
    for e, seed in enumerate(run.seeds):
        known, losses = plain_loop(run, seed, rate=0.05)
        assert [found[3, seed, t, None] for t in range(7)] == pytest.approx(losses, rel=1e-12)
        assert all(torch.allclose(final[name][e], known[name], rtol=1e-11, atol=0) for name in known)
    assert (3, 0, 7, None) in found
    other = weights(replace(run, batches=Batches(3, order)))
    assert not torch.allclose(final["3/V"], other["3/V"], rtol=1e-3)


@pytest.mark.parametrize("build", [lambda r: SGD(r, momentum=0.9), Adam, GradientFlow], ids=["sgd", "adam", "flow"])
def test_members_in_mini_batches_are_the_separate_runs(build):
    rates = (0.05, 0.01, 0.002)
    measures = (Loss(), LayerGaps(Last()), FullLoss(), HeldOut(GaussianPairs(5, 2, 3), fresh=True))
    run = replace(BATCHED, measures=measures, optimizer=build(rates), decay=StepDecay(1, 0.5))
    together = rows(run)
    for seed, rate in zip(run.seeds, rates, strict=True):
        alone = rows(replace(run, optimizer=build(rate), seeds=(seed,)))
        own = [row for row in together if row["seed"] == seed]
        assert [(r["quantity"], r["iteration"]) for r in own] == [(r["quantity"], r["iteration"]) for r in alone]
        assert [r["value"] for r in own] == pytest.approx([r["value"] for r in alone], rel=1e-11)


def test_rates_side_by_side_see_the_same_batches():
    run = replace(BATCHED, optimizer=Adam((0.05, 0.05, 0.01)), seeds=(4, 4, 4))
    found = [row for row in rows(run) if row["iteration"] == 7]
    (same, again, other) = (row["value"] for row in found)
    assert same == again != other


def test_nothing_is_evaluated_at_the_end_unless_it_is_measured(monkeypatch):
    calls: list[int] = []
    evaluate = Step.evaluate
    monkeypatch.setattr(Step, "evaluate", lambda *a: calls.append(1) or evaluate(*a))  # type: ignore[func-returns-value]
    counts = []
    for measures in ((), (Loss(At((0, 3))),), (Drift(Last()),), (Loss(Every(7)),)):
        calls.clear()
        list(replace(BATCHED, measures=measures).run(Context()))
        counts.append(len(calls))
    assert counts == [7, 7, 8, 8]


def test_the_view_holds_all_data_beside_the_batch():
    seen = []

    class Look(Loss):
        def observe(self, view, memory):
            seen.append((view.iteration, view.final, view.x.shape[1], view.data[0].shape[1], view.seeds))
            yield from ()

    rows(replace(BATCHED, measures=(Look(), Look(Last()))))
    assert seen[:2] == [(0, False, 4, 6, (0, 1, 2)), (1, False, 2, 6, (0, 1, 2))]
    assert seen[-2:] == [(7, True, 2, 6, (0, 1, 2))] * 2
    assert len(seen) == 9


def test_divergence_inside_an_epoch_stays_though_the_next_batch_is_fine():
    """One sample is so large that its batch alone has an infinite loss."""
    data = Spiked(6, 2, 3)
    batches = Batches(1)
    run = replace(BATCHED, data=data, batches=batches, optimizer=SGD((1e-3, 1e-3, 0.0)), stop=EpochStop(0.0, 9))
    found = rows(replace(run, measures=(Loss(), SeedSpread(Every(1))), iterations=12))
    spikes = {seed: batches.order_of(6, seed=seed, epoch=0).tolist().index(2) for seed in run.seeds}
    assert table(found, "diverged") == {(3, seed, t, None): 1.0 for seed, t in spikes.items()}
    assert len(set(spikes.values())) == 3
    for quantity in ("loss", "spread.outputs"):
        assert set(table(found, quantity)) == {(3, seed, t, None) for seed in run.seeds for t in range(spikes[seed])}
    assert values(found, "loss.epoch") == []


class Spiked(GaussianPairs):
    """Sample 2 is out of all bounds."""

    def sample(self, stream):
        x, y = super().sample(stream)
        y[2] = 1e30
        return x.double(), y.double() ** 6


# --- stopped ---

STOPPED = replace(
    BATCHED,
    iterations=300,
    optimizer=Adam((0.1, 0.03, 0.03)),
    measures=(Loss(Every(25)), FullLoss(), Drift(Last())),
    stop=EpochStop(1.6),
)


def ends(found: list[Row]) -> dict[int, tuple[int, float]]:
    """Seed -> where it stopped, and why."""
    return {row["seed"]: (row["iteration"], row["value"]) for row in found if row["quantity"] == "stopped"}  # type: ignore[misc]


def test_members_stop_at_the_end_of_the_epoch_that_says_so():
    found = rows(STOPPED)
    stopped, means = ends(found), table(found, "loss.epoch")
    assert len({end for end, _ in stopped.values()}) == 3
    assert [stopped[seed][1] for seed in STOPPED.seeds] == [1, 1, 2]
    for seed, (end, why) in stopped.items():
        own = {t: value for (_, s, t, _), value in means.items() if s == seed}
        assert list(own) == list(range(2, end + 1, 2))
        assert (own[end] < 1.6) is (why == 1)
        assert min(value for t, value in own.items() if t < end) >= 1.6  # type: ignore[operator]
    last = {seed: max(t for (_, s, t, _) in table(found, "loss") if s == seed) for seed in stopped}  # type: ignore[type-var]
    assert last == {seed: end - end % 25 for seed, (end, _) in stopped.items()}


def test_the_epoch_loss_is_the_mean_of_its_samples_before_their_update():
    found = rows(replace(STOPPED, measures=(Loss(),)))
    losses, means = table(found, "loss"), table(found, "loss.epoch")
    for t in (2, 4, 6):
        expected = (4 * losses[3, 1, t - 2, None] + 2 * losses[3, 1, t - 1, None]) / 6
        assert means[3, 1, t, None] == pytest.approx(expected, rel=1e-13)


def test_patience_is_a_reason_of_its_own():
    found = rows(replace(STOPPED, optimizer=Adam(1e-9), stop=EpochStop(1e-3, patience=3)))
    assert set(ends(found).values()) == {(8, 2.0)}
    assert max(row["iteration"] for row in found) == 8  # type: ignore[type-var]


def test_stopped_members_are_the_separate_runs_which_end_there():
    together, final = rows(STOPPED), weights(STOPPED)
    for e, (seed, rate) in enumerate(zip(STOPPED.seeds, (0.1, 0.03, 0.03), strict=True)):
        run = replace(STOPPED, optimizer=Adam(rate), seeds=(seed,))
        alone, own = rows(run), [row for row in together if row["seed"] == seed]
        key = [(r["quantity"], r["iteration"]) for r in alone]
        assert sorted((r["quantity"], r["iteration"]) for r in own) == sorted(key)
        for quantity in ("loss", "loss.epoch", "loss.full", "drift.V", "stopped"):
            assert values(own, quantity) == pytest.approx(values(alone, quantity), rel=1e-9)
        assert all(torch.allclose(final[name][e], w[0], rtol=1e-9, atol=1e-12) for name, w in weights(run).items())


def test_a_stopped_member_does_not_move_any_more():
    quickest = min(end for end, _ in ends(rows(STOPPED)).values())
    (e,) = [seed for seed, (end, _) in ends(rows(STOPPED)).items() if end == quickest]
    early, late = weights(replace(STOPPED, iterations=quickest)), weights(STOPPED)
    assert all(torch.equal(early[name][e], late[name][e]) for name in late)
    free = weights(replace(STOPPED, stop=None))
    assert not torch.equal(late["3/V"][e], free["3/V"][e])


def test_what_is_measured_at_the_last_iteration_leaves_stopped_members_out():
    found = rows(replace(STOPPED, iterations=50, measures=(Loss(Every(50)), FullLoss(Every(50)))))
    stopped = ends(found)
    assert 0 < len(stopped) < 3
    assert {row["seed"] for row in found if row["iteration"] == 50} == set(STOPPED.seeds) - stopped.keys()


def test_a_run_stops_without_mini_batches_too():
    run = replace(STOPPED, batches=None, measures=(Loss(),), stop=EpochStop(1.6, patience=300))
    found = rows(run)
    assert {0, 1} <= ends(found).keys()
    for seed, (end, why) in ends(found).items():
        losses = [value for (_, s, _, _), value in table(found, "loss").items() if s == seed]
        assert why == 1
        assert losses[-2] < 1.6 <= losses[-3]  # the loss before the last update is what stops
        assert len(losses) == end + 1


def test_depths_in_lock_step_stop_apart():
    networks = (SHALLOW, SHALLOW.at_depth(6))
    found = rows(replace(STOPPED, networks=networks))
    for network in networks:
        alone = rows(replace(STOPPED, networks=(network,)))
        assert sorted(map(str, (r for r in found if r["depth"] == network.depth))) == sorted(map(str, alone))


# --- descriptions and costs of the later options ---


def test_options_that_are_not_used_are_no_part_of_the_run():
    assert not {"batches", "stop", "decay", "keep_weights"} & set(json.loads(canonical(RUN))["fields"])
    names = {"batches": Batches(4), "stop": EpochStop(0.1), "decay": StepDecay(2, 0.1), "keep_weights": False}
    runs = [RUN, *(replace(RUN, **{name: value}) for name, value in names.items())]
    assert len({canonical(run) for run in runs}) == 5


def test_weights_may_be_left_out():
    context = Context()
    found = list(replace(BATCHED, keep_weights=False).run(context))
    assert context.weights == {}
    assert found == rows(BATCHED)
    assert replace(BATCHED, keep_weights=False).cost().disk_bytes < BATCHED.cost().disk_bytes


def test_a_probe_of_mini_batches_measures_the_end_once():
    slow = replace(STOPPED, networks=(SHALLOW.at_depth(300),), iterations=5000, measures=(FullLoss(), Drift(Last())))
    assert 0 < slow.probe(Context()) < 600


def test_small_batches_cost_less_memory():
    whole = replace(RUN, data=GaussianPairs(600, 2, 3))
    assert replace(whole, batches=Batches(4)).cost().memory_bytes < whole.cost().memory_bytes / 10
    assert replace(whole, batches=Batches(1000)).cost() == whole.cost()


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
    "batches": replace(BATCHED, measures=(*MEMORIES, FullLoss(), Drift(Last())), iterations=9, decay=StepDecay(2, 0.5)),
    "published": replace(BATCHED, batches=Batches(2, "published"), networks=(SHALLOW, SHALLOW.at_depth(5))),
    "stopping": replace(
        BATCHED,
        measures=(*MEMORIES, FullLoss(), Drift(Last())),
        optimizer=Adam((0.01, 1e300, 1e-9)),
        iterations=13,
        stop=EpochStop(0.0, patience=2),
    ),
    "convolutions": replace(
        BATCHED,
        networks=(ConvolutionalStack(5, channels=2, image=(2, 12, 12), classes=3),),
        data=GaussianPairs(6, (2, 12, 12), (3,)),
        loss=CrossEntropy(),
        optimizer=SGD(0.04, 0.9, 5e-4),
        iterations=7,
        decay=CosineDecay(4),
        augmentation=Chain((PaddedCrop(2, border=(0.5, -1.0)), Flip())),
        measures=(BatchMeans(Every(2)), Smoothness(Every(1)), FullLoss(Every(3), accuracy=True)),
        dtype="float32",
    ),
    "rule": replace(
        BATCHED,
        optimizer=SGD((0.05, 0.1, 0.2), momentum=0.5, weight_decay=(0.5, 1.0, 2.0)),
        iterations=13,
        decay=StepDecay(2, 0.5),
        rule=PublishedRule(None, delay=1e-3, every=2),
    ),
    "robust-rule": replace(
        BATCHED,
        optimizer=Adam(0.1, weight_decay=5.0, decoupled=True),
        networks=(SHALLOW, SHALLOW.at_depth(5)),
        iterations=13,
        rule=RobustRule(every=1, wait=0.5, patience=0.2, fewest=2),
    ),
}


@pytest.mark.parametrize("name", ["rule", "robust-rule"])
def test_a_rule_changes_the_coefficients_of_the_runs_that_are_resumed(name):
    found = [row["value"] for row in rows(RESUMED[name]) if row["quantity"] == "weight_decay"]
    assert len(set(found)) > 2


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


@dataclasses.dataclass(frozen=True)
class FromFiles(Pairs):
    """Pairs that say where they come from, by a number drawn from the stream."""

    shared: bool

    def sample(self, stream):
        return RUN.data.sample(stream)

    def facts(self, stream):
        drawn = int(torch.randint(1000, (), generator=stream.generator("split")))
        return {"set": "some", "indices": 0 if self.shared else drawn}


def test_files_and_indices_of_the_data_are_recorded():
    def recorded(**changes):
        context = Context()
        list(dataclasses.replace(RUN, seeds=(0, 1), iterations=1, measures=(), **changes).run(context))
        return context.provenance.get("splits")

    assert recorded(data=FromFiles(shared=True)) == {"set": "some", "indices": 0}
    own = recorded(data=FromFiles(shared=False))
    assert set(own) == {"0", "1"}
    assert own["0"] != own["1"]
    assert own["1"] == FromFiles(shared=False).facts(NamedDraw().stream(1))
    assert recorded(data=FromFiles(shared=False), draw=SequentialDraw()) is None
    assert recorded(data=RUN.data) is None
