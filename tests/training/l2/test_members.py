from __future__ import annotations

import dataclasses

import polars as pl
import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.data import GaussianPairs
from deeplimit.draws import NamedDraw
from deeplimit.measures import At, Drift, Last
from deeplimit.networks import FullyConnected
from deeplimit.records import Context, frame
from deeplimit.training import SGD, Adam, Batches, CrossEntropy, Feed, GradientFlow, TrainingRun
from deeplimit.training.l2 import PublishedRule, Signal
from deeplimit.training.l2.members import MemberRules

RULE = PublishedRule(None, factor=3.0, delay=2.0, every=2)
RUN = TrainingRun(
    (FullyConnected(3, (8,), 2),),
    GaussianPairs(12, 3, 2),
    SGD((0.1, 0.3), momentum=0.5, weight_decay=(0.5, 1.0)),
    iterations=40,
    measures=(Drift(Last()),),
    seeds=(0, 1),
    loss=CrossEntropy(),
    batches=Batches(4),
    rule=RULE,
)


def plain(seed: int, rate: float, decay: float) -> tuple[dict[str, torch.Tensor], list[tuple[int, float]]]:
    """The loop of one member as a user would write it, and the coefficients after each measurement."""
    (network,) = RUN.networks
    stream = NamedDraw().stream(seed)
    params = {role: p.requires_grad_() for role, p in network.initialise(stream, dtype=torch.float64).items()}
    x, y = (tensor.double()[None] for tensor in RUN.data.sample(stream))
    feed = Feed((x, y), (seed,), batches=RUN.batches)
    optimizer = torch.optim.SGD(params.values(), lr=rate, momentum=0.5, weight_decay=decay)
    state, seen = RULE.start(decay), []
    for t in range(RUN.iterations):
        (inputs,), (targets,) = feed(t)
        output = network(params, inputs)
        loss = -(output.log_softmax(-1) * targets).sum(-1).mean()
        if t % RULE.every == 0:
            accuracy = (output.argmax(-1) == targets.argmax(-1)).double().mean()
            state = RULE(state, Signal(t, float(loss.detach()), float(accuracy), rate, 0.5))
            seen.append((t, state.weight_decay))
        optimizer.param_groups[0]["weight_decay"] = state.weight_decay
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return params, seen


def test_members_follow_the_rule_as_loops_of_their_own_would():
    context = Context()
    rows = frame(RUN.run(context))
    for e, (seed, rate, decay) in enumerate(zip((0, 1), (0.1, 0.3), (0.5, 1.0), strict=True)):
        params, seen = plain(seed, rate, decay)
        changes = [point for i, point in enumerate(seen) if i == 0 or point[1] != seen[i - 1][1]]
        own = rows.filter(pl.col("quantity") == "weight_decay", pl.col("seed") == seed)
        assert list(zip(own["iteration"], own["value"], strict=True)) == changes
        assert len(changes) > 2
        for role, value in params.items():
            torch.testing.assert_close(
                torch.from_numpy(context.weights[f"2/{role}"][e]), value.detach(), rtol=1e-9, atol=1e-11
            )
    assert set(rows["weight_decay"]) == {0.5, 1.0}


def test_a_rule_changes_nothing_but_the_coefficient():
    never = dataclasses.replace(RUN, rule=PublishedRule(None, delay=1e9))
    without = dataclasses.replace(RUN, rule=None)
    contexts = Context(), Context()
    for run, context in zip((never, without), contexts, strict=True):
        list(run.run(context))
    assert all((contexts[1].weights[name] == w).all() for name, w in contexts[0].weights.items())


def test_a_single_output_has_no_accuracy():
    """It would be 1 in every batch, and a tie is a stall."""
    falling = TrainingRun(
        (FullyConnected(3, (), 1),),
        GaussianPairs(12, 3, 1),
        SGD(0.01, weight_decay=0.5),
        iterations=30,
        measures=(),
        rule=PublishedRule(None, factor=3.0, delay=1.0, every=2),
    )
    rows = frame(falling.run(Context()))
    assert rows.filter(quantity="weight_decay")["iteration"].to_list() == [0]


def test_a_member_that_diverges_keeps_its_coefficient():
    rows = frame(
        dataclasses.replace(RUN, optimizer=SGD((0.1, 1e30), weight_decay=0.5), measures=(Drift(At((0,))),)).run(
            Context()
        )
    )
    decays = rows.filter(pl.col("quantity") == "weight_decay")
    assert decays.filter(seed=1)["value"].to_list() == [0.5]
    assert len(decays.filter(seed=0)) > 1
    assert len(rows.filter(quantity="diverged", seed=1)) == 1


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (GradientFlow(0.1), "rule: expected the optimiser SGD or Adam, found GradientFlow"),
        (Adam(0.1), "weight_decay: expected a finite number above 0, found 0.0"),
    ],
)
def test_an_optimiser_without_a_coefficient_is_refused(optimizer, message):
    with pytest.raises(InputError, match=message):
        MemberRules(RULE, optimizer, members=2)
