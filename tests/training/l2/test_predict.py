from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from deeplimit.checks import InputError
from deeplimit.training.l2 import (
    CONVENTIONS,
    Curve,
    Reading,
    Setting,
    convert,
    power_law_rule,
    predict_weight_decay,
    shrinkage,
    time_scale_rule,
    transfer,
)

C = 1.3  # decay times until the peak of `curve`
ARGMAX = Reading(within=0.0, smooth=0.0)


def curve(rate: float, steps: int = 1000, *, top: float = 0.9, training: float | None = None) -> Curve:
    """Accuracy that peaks when `rate` · step, the decay times gone by, is C."""
    times = tuple(range(steps + 1))
    shares = [rate * step / C for step in times]
    values = tuple(0.1 + (top - 0.1) * share * math.exp(1 - share) for share in shares)
    fitted = () if training is None else tuple(training * min(1.0, share) for share in shares)
    return Curve(times, values, fitted)


@pytest.mark.parametrize("source", ["house", "torch-adamw", "composer-decoupled", "lewkowycz2020"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_coefficient_peaks_when_the_budget_ends(source, momentum):
    """In every convention with a clock, whatever the momentum does there."""
    setting = Setting(0.01, momentum=momentum, steps=200_000, classes=10)
    probed = 0.004 / shrinkage(1.0, setting, source=source)
    found = predict_weight_decay([curve(0.004)], setting, weight_decay=probed, source=source, reading=ARGMAX)
    assert found.time == pytest.approx(C / 0.004)
    assert found.clock == pytest.approx(C)
    assert shrinkage(found.value, setting, source=source) * 200_000 == pytest.approx(C)
    assert found.low < found.value < found.high
    assert (found.warnings, found.disagreements) == ((), ())


def test_a_probe_of_ten_times_the_coefficient_says_the_same():
    setting = Setting(0.1, steps=200_000)
    values = [
        predict_weight_decay([curve(0.1 * w)], setting, weight_decay=w, reading=ARGMAX).value for w in (0.02, 0.2)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_l2_in_the_gradient_of_adam_is_predicted_by_proportion_and_with_a_warning():
    found = predict_weight_decay(
        [curve(0.004)], Setting(1e-3, steps=200_000), weight_decay=0.1, source="torch-adam", reading=ARGMAX
    )
    assert found.value == pytest.approx(0.1 * C / 0.004 / 200_000)
    assert math.isnan(found.clock)
    assert "has no clock" in found.warnings[0]


def test_other_definitions_of_the_peak_stand_beside():
    found = predict_weight_decay([curve(0.004)], Setting(0.1, steps=200_000), weight_decay=0.04)
    assert list(found.definitions) == [0.0, 0.001, 0.0025, 0.005, 0.01]
    assert found.definitions[0.005] == found.value
    assert sorted(found.definitions.values(), reverse=True) == list(found.definitions.values())
    assert found.definitions[0.0] > 1.05 * found.value


def test_seeds_are_a_sample_from_three_on():
    setting, rates = Setting(0.1, steps=10**6), (0.0039, 0.004, 0.0041)
    found = predict_weight_decay([curve(rate) for rate in rates], setting, weight_decay=0.04, reading=ARGMAX)
    logs = [math.log(round(C / rate)) for rate in rates]
    mean = sum(logs) / 3
    spread = math.sqrt(sum((log - mean) ** 2 for log in logs) / 2)
    assert found.time == pytest.approx(math.exp(mean), rel=1e-6)
    assert found.high / found.value == pytest.approx(math.exp(4.302653 * spread / math.sqrt(3)), rel=1e-4)
    two = predict_weight_decay([curve(rate) for rate in rates[:2]], setting, weight_decay=0.04, reading=ARGMAX)
    one = [predict_weight_decay([curve(rate)], setting, weight_decay=0.04, reading=ARGMAX) for rate in rates[:2]]
    assert two.low == pytest.approx(min(found.low for found in one))
    assert two.high == pytest.approx(max(found.high for found in one))


def test_an_interval_over_seeds_is_no_narrower_than_one_curve():
    alike = Curve((0, 10, 20, 40, 80, 160), (0.1, 0.5, 0.9, 0.8, 0.7, 0.6))
    one, three = (
        predict_weight_decay([alike] * n, Setting(0.1, steps=10_000), weight_decay=0.5, reading=ARGMAX) for n in (1, 3)
    )
    assert (one.low, one.value, one.high) == pytest.approx((5e-4, 1e-3, 1e-3))
    assert (three.low, three.value, three.high) == pytest.approx((one.low, one.value, one.high))


def test_a_censored_probe_gives_a_bound():
    found = predict_weight_decay([curve(0.001)], Setting(0.1, steps=200_000), weight_decay=0.01, reading=ARGMAX)
    assert found.value == pytest.approx(0.01 * 1000 / 200_000)
    assert found.high == math.inf
    assert "inf" not in str(found)
    assert found.as_json()["high"] is None
    assert "lower bound" in found.warnings[0]


def test_a_censored_seed_is_left_out_where_another_peaks():
    curves = [curve(0.001), curve(0.004)]
    found = predict_weight_decay(curves, Setting(0.1, steps=200_000), weight_decay=0.04, reading=ARGMAX)
    assert found.time == pytest.approx(C / 0.004)
    assert found.warnings[0].startswith("1 of 2 probes: accuracy still rose at the end")


def test_a_peak_at_once_has_no_lower_bound():
    times = Curve((0, 100, 200, 300), (0.1, 0.9, 0.8, 0.7))
    found = predict_weight_decay([times], Setting(0.1, steps=10_000), weight_decay=0.1)
    assert found.low == 0
    assert "upper bound; measure more often" in found.warnings[0]
    assert predict_weight_decay([times] * 3, Setting(0.1, steps=10_000), weight_decay=0.1).low == 0


@pytest.mark.parametrize(
    ("flawed", "words"),
    [
        (Curve(tuple(range(50)), (0.1,) * 50), "never above chance"),
        (Curve((0, 1), (0.1, 0.5), diverged=True), "training diverged"),
        (Curve(tuple(range(50)), (0.7,) * 50), "upper bound"),  # it never moves: its peak would be step 0
    ],
)
def test_without_a_peak_there_is_no_number(flawed, words):
    found = predict_weight_decay([flawed], Setting(0.1, steps=10_000), weight_decay=0.1)
    assert math.isnan(found.value)
    assert words in found.warnings[0]
    assert "none, because the probe shows no peak" in str(found)
    assert "nan" not in str(found)
    assert found.as_json()["value"] is None


def test_what_speaks_against_the_law_is_said():
    def warnings(budget: int, **options) -> str:
        found = predict_weight_decay([curve(0.004, **options)], Setting(0.1, steps=budget), weight_decay=0.04)
        return "\n".join(found.warnings)

    assert warnings(200_000, training=1.0) == ""
    assert "training accuracy reached 0.7: the law is one of networks that can fit" in warnings(200_000, training=0.7)
    assert "took 10.0% of the budget, more than 5%" in warnings(10_000)
    assert "the budget of 500 steps is shorter than the probe of 1000" in warnings(500)
    unequal = [curve(0.04, steps=100), curve(0.004)]
    found = predict_weight_decay(unequal, Setting(0.1, steps=500), weight_decay=0.04)
    assert "the budget of 500 steps is shorter than the probe of 1000" in found.warnings
    apart = predict_weight_decay([curve(0.03), curve(0.002)], Setting(0.1, steps=10**6), weight_decay=0.04)
    assert "no better than a factor of 10" in apart.warnings[0]


def test_the_time_scale_is_between_an_epoch_and_the_run():
    setting = Setting(2e-3, steps=5000, batch_size=100, train_samples=20_000)
    rule = time_scale_rule(setting)
    assert rule.value is None
    assert 1 / shrinkage(rule.high, setting, source="torch-adamw") == pytest.approx(200)
    assert 1 / shrinkage(rule.low, setting, source="torch-adamw") == pytest.approx(5000)
    assert "25 epochs" in rule.note
    # In another convention it is the converted number.
    other = time_scale_rule(setting, source="composer-decoupled")
    converted = convert(rule.low, setting, source="torch-adamw", target="composer-decoupled")
    assert other.low == pytest.approx(converted.weight_decay)
    with pytest.raises(InputError, match="train_samples: expected a number, because τ is counted in epochs"):
        time_scale_rule(Setting(2e-3, steps=5000, batch_size=100))
    with pytest.raises(InputError, match="expected a convention of decoupled weight decay, found 'house'"):
        time_scale_rule(setting, source="house")


def test_the_power_law_has_its_exponent_and_says_what_is_not_verified():
    setting = Setting(1e-3, steps=10_000, tokens_per_parameter=20.0)
    values = {ratio: power_law_rule(replace(setting, tokens_per_parameter=ratio)).value for ratio in (20.0, 200.0)}
    assert math.log10(values[200.0] / values[20.0]) == pytest.approx(0.527)  # type: ignore[operator]
    assert values[20.0] == pytest.approx(20**0.527 / 1.084 / 10)
    assert "prefactor is not verified" in power_law_rule(setting).note
    with pytest.raises(InputError, match="tokens_per_parameter: expected a number, because"):
        power_law_rule(Setting(1e-3, steps=10_000))
    with pytest.raises(InputError, match="tokens_per_parameter: expected a number from 1e-50"):
        Setting(1e-3, steps=10_000, tokens_per_parameter=-1.0)


def test_rules_stand_beside_a_decoupled_prediction_and_disagree_in_words():
    setting = Setting(1e-2, steps=200_000, batch_size=100, train_samples=50_000)
    options: dict[str, Any] = {"weight_decay": 0.4, "reading": ARGMAX}
    found = predict_weight_decay([curve(0.004)], setting, source="torch-adamw", **options)
    assert set(found.rules) == {"time scale"}
    assert found.disagreements == ()
    with_law = predict_weight_decay(
        [curve(0.004)], replace(setting, tokens_per_parameter=1000.0), source="torch-adamw", **options
    )
    assert set(with_law.rules) == {"time scale", "power law"}
    law = with_law.rules["power law"].value
    assert law is not None
    assert with_law.disagreements == (
        f"the probe's {found.value:.3g} lies a factor of {law / found.value:.2g} below the power law rule's {law:.3g}",
    )
    options["weight_decay"] = 40.0  # 130 decay times until the peak, in a run of less than an epoch
    short = Setting(1e-2, steps=200_000, batch_size=1, train_samples=10**7)
    above = predict_weight_decay([curve(0.004)], short, source="torch-adamw", **options)
    assert above.rules["time scale"].low == above.rules["time scale"].high == pytest.approx(1 / (1e-2 * 200_000))
    assert "above the time scale rule's" in above.disagreements[0]
    assert predict_weight_decay([curve(0.004)], setting, **options).rules == {}  # coupled


def test_a_coefficient_is_transferred_along_its_clock():
    old = Setting(0.1, steps=1000)
    assert transfer(1e-3, old=old, new=Setting(0.2, steps=1000)) == pytest.approx(5e-4)
    assert transfer(1e-3, old=old, new=Setting(0.1, steps=10_000)) == pytest.approx(1e-4)
    assert transfer(1e-3, old=old, new=Setting(0.1, momentum=0.9, steps=1000)) == pytest.approx(1e-4)
    # No momentum in decoupled decay; no learning rate either where it acts alone.
    new = Setting(0.2, momentum=0.9, steps=1000)
    assert transfer(1e-3, old=old, new=new, source="optax-sgdw") == pytest.approx(5e-4)
    assert transfer(1e-3, old=old, new=new, source="composer-decoupled") == pytest.approx(1e-3)


def test_at_fixed_epochs_a_coefficient_grows_with_the_batch():
    old, new = (Setting(0.1, batch_size=size) for size in (64, 256))
    assert transfer(1e-3, old=old, new=new) == pytest.approx(4e-3)
    with pytest.raises(InputError, match="batch_size: expected a number, because the number of epochs"):
        transfer(1e-3, old=Setting(0.1), new=new)
    with pytest.raises(InputError, match="found L2 in the gradient of Adam"):
        transfer(1e-3, old=old, new=new, source="torch-adam")


@pytest.mark.parametrize("source", sorted(set(CONVENTIONS) - {"torch-adam"}))
def test_a_transfer_there_and_back_is_the_same_number(source):
    old = Setting(0.1, steps=1000, batch_size=64, classes=10)
    new = Setting(0.03, momentum=0.9, steps=7000, batch_size=32, classes=10)
    there = transfer(1e-3, old=old, new=new, source=source)
    assert transfer(there, old=new, new=old, source=source) == pytest.approx(1e-3)
    assert shrinkage(there, new, source=source) * 7000 == pytest.approx(shrinkage(1e-3, old, source=source) * 1000)


def test_what_is_missing_is_said():
    with pytest.raises(InputError, match="curves: expected at least one"):
        predict_weight_decay([], Setting(0.1, steps=10), weight_decay=0.1)
    with pytest.raises(InputError, match="steps: expected a number, because it is the budget"):
        predict_weight_decay([curve(0.004)], Setting(0.1), weight_decay=0.1)
    with pytest.raises(InputError, match="weight_decay: expected a number from 1e-50"):
        predict_weight_decay([curve(0.004)], Setting(0.1, steps=10), weight_decay=0.0)
