"""Which weight decay to take for a budget of steps: from a probe, by rules of thumb beside it, and from another setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from deeplimit import checks
from deeplimit.statistics.peaks import WITHIN, Peak
from deeplimit.training.l2.conventions import Convention, Setting, convention, shrinkage
from deeplimit.training.l2.probes import ALLOWANCE, NEAR, Curve, Reading, outcome, together

_FITTED = 0.99  # training accuracy of a network that can fit its training set
_EXPONENT, _PREFACTOR = -0.527, 1.084


@dataclass(frozen=True)
class Advice:
    """What one rule says.

    Args:
        value: None where the rule is a range.
        low, high: the range, or an interval of the value.
        note: where it is from and what it rests on.
    """

    value: float | None
    low: float
    high: float
    note: str


@dataclass(frozen=True)
class Prediction:
    """The weight decay for a budget, in the convention of the probe's.

    Args:
        value, low, high: NaN where the probe has no peak; `high` is infinite where it is censored.
        time: t_* of the probe in steps, the geometric mean over seeds.
        clock: c = ηλt_*/(1 − m), the decay times until the peak; NaN for L2 in the gradient of Adam.
        definitions: the value by other definitions of t_*: distance from the maximum (0: the argmax) -> value.
        rules: other rules, by name, where the setting says enough for them.
        disagreements: in words, rules more than half a decade from the prediction.
        warnings: in words, why not to trust it.
    """

    value: float
    low: float
    high: float
    time: float
    clock: float
    definitions: Mapping[float, float]
    rules: Mapping[str, Advice]
    disagreements: tuple[str, ...]
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """All of it for JSON, which has no NaN and no infinity: null stands for both."""
        found: dict[str, Any] = _finite(asdict(self))
        return found

    def __str__(self) -> str:
        lines = ["weight decay: none, because the probe shows no peak"]
        if math.isfinite(self.value):
            high = f"to {self.high:.3g}" if math.isfinite(self.high) else "or more"
            ticks = f", after {self.clock:.3g} decay times" if math.isfinite(self.clock) else ""
            lines = [f"weight decay: {self.value:.3g}  (95 %: {self.low:.3g} {high})"]
            lines.append(f"peak of the probe: step {self.time:.4g}{ticks}")
        seen = {within: value for within, value in self.definitions.items() if math.isfinite(value)}
        spread = ", ".join(f"{value:.3g} ({within:g})" for within, value in seen.items())
        lines += [f"by distance from the maximum: {spread}"] if spread else []
        for name, rule in self.rules.items():
            value = "" if rule.value is None else f"{rule.value:.3g}, "
            lines.append(f"{name} rule: {value}{rule.low:.3g} to {rule.high:.3g}  ({rule.note})")
        lines += [f"disagreement: {text}" for text in self.disagreements]
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])


def _finite(item: Any) -> Any:
    """Numbers that are none become None, also inside."""
    if isinstance(item, dict):
        return {str(key): _finite(value) for key, value in item.items()}
    if isinstance(item, tuple):
        return [_finite(value) for value in item]
    return None if isinstance(item, float) and not math.isfinite(item) else item


def predict_weight_decay(
    curves: Sequence[Curve],
    setting: Setting,
    *,
    weight_decay: float,
    source: str | Convention = "house",
    reading: Reading | None = None,
) -> Prediction:
    """From probes at a large coefficient to the coefficient whose accuracy peaks when the budget ends.

    c = ηλ_p t_*/(1 − m),  λ = c (1 − m)/(ηT) = λ_p t_*/T

    Reference: Lewkowycz and Gur-Ari 2020 (t_* is proportional to 1/λ; λ = c/T). The law is one of networks that can fit their training set.
    It holds up to a logarithm: over two decades of T the value may be off by a factor of about 1.5.

    Args:
        curves: of one or several seeds, at the coefficient `weight_decay`.
        setting: learning rate, momentum and, in `steps`, the budget T, the same for probe and run but for T; see `transfer`.
        weight_decay: λ_p, in the convention `source`, and so is the value.
        source: a name of `CONVENTIONS`, or a convention.
        reading: how t_* is read.

    Returns:
        The interval is that of t_*: over seeds (Student, of log t_*) from 3 on and no narrower than a single curve's own, else the widest
        of the curves' own.

    Raises:
        InputError: no curve, a coefficient that is not positive, or no budget.

    >>> steps = (0, 10, 20, 40, 80, 160)
    >>> curve = Curve(steps, (0.1, 0.5, 0.9, 0.8, 0.7, 0.6))
    >>> found = predict_weight_decay([curve], Setting(0.1, steps=10_000), weight_decay=0.5, reading=Reading(within=0))
    >>> round(found.time, 9), round(found.value, 9), round(found.clock, 9)
    (20.0, 0.001, 1.0)
    """
    read, budget = reading or Reading(), setting.need("steps", "it is the budget")
    checks.moderate("weight_decay", weight_decay)
    if not curves:
        raise checks.InputError("curves: expected at least one, found none")
    peaks = [read.peak(curve) for curve in curves]
    time, low, high = together(peaks)
    # The same rate and momentum before and after: c drops out, whatever the convention.
    value = weight_decay * time / budget
    others = {within: [replace(read, within=within).peak(curve) for curve in curves] for within in (0.0, *WITHIN)}
    rules = _rules(setting, source)
    return Prediction(
        value,
        weight_decay * low / budget,
        weight_decay * high / budget,
        time=time,
        clock=shrinkage(weight_decay, setting, source=source) * time,
        definitions={within: weight_decay * together(found)[0] / budget for within, found in others.items()},
        rules=rules,
        disagreements=_disagreements(value, rules),
        warnings=_warnings(curves, peaks, budget=budget, kind=convention(source)),
    )


def _rules(setting: Setting, source: str | Convention) -> dict[str, Advice]:
    """The rules that are for this kind of decay and for which enough is known."""
    if convention(source).coupled:
        return {}
    found = {}
    if setting.train_samples is not None and setting.batch_size is not None:
        found["time scale"] = time_scale_rule(setting, source=source)
    if setting.tokens_per_parameter is not None:
        found["power law"] = power_law_rule(setting, source=source)
    return found


def time_scale_rule(setting: Setting, *, source: str | Convention = "torch-adamw") -> Advice:
    """Decoupled decay averages the updates over τ = 1/(ηλ) steps: between one epoch and the whole run.

    1/(ηT) ≤ λ ≤ 1/(ηM),  M = N/B steps an epoch

    Reference: Wang and Aitchison 2025 (the best τ in epochs is about the same over sizes of networks and data).

    Args:
        setting: learning rate, T, B and N.
        source: the convention of the result, a decoupled one.

    Raises:
        InputError: a number is missing, or decay is in the gradient.

    >>> rule = time_scale_rule(Setting(1e-3, steps=10_000, batch_size=100, train_samples=50_000))
    >>> round(rule.low, 6), round(rule.high, 6)
    (0.1, 2.0)
    """
    steps, unit = setting.need("steps", "τ is at most the whole run"), _unit(setting, source)
    epoch = setting.need("train_samples", "τ is counted in epochs") / setting.need("batch_size", "so")
    note = f"τ from one epoch ({epoch:g} steps) to the whole run ({steps / epoch:g} epochs); Wang and Aitchison 2025"
    low = 1 / (unit * steps)
    return Advice(None, low, max(low, 1 / (unit * epoch)), note)  # of less than one epoch, the whole run


def power_law_rule(setting: Setting, *, source: str | Convention = "torch-adamw") -> Advice:
    """The time scale of AdamW as a share of the run falls with the tokens per parameter, in one pass over language data.

    1/(ηλT) = 1.084 (D/N)^(−0.527)

    Reference: Bergsma et al. 2025. The exponent is published; the prefactor was not verified.

    Args:
        setting: learning rate, T and D/N.
        source: the convention of the result, a decoupled one.

    Returns:
        With a factor of √10 to both sides.

    >>> round(power_law_rule(Setting(1e-3, steps=10_000, tokens_per_parameter=20.0)).value, 3)
    0.447
    """
    steps, unit = setting.need("steps", "τ is a share of the run"), _unit(setting, source)
    if setting.tokens_per_parameter is None:
        raise checks.InputError(
            "tokens_per_parameter: expected a number, because the rule is a power of it; found none"
        )
    share = _PREFACTOR * setting.tokens_per_parameter**_EXPONENT
    value = 1 / (unit * steps * share)
    note = f"τ is {share:.3g} of the run; Bergsma et al. 2025, found for language models; the prefactor is not verified"
    return Advice(value, value / NEAR, value * NEAR, note)


def _unit(setting: Setting, source: str | Convention) -> float:
    """ρ of a decoupled weight decay of 1."""
    if convention(source).coupled:
        raise checks.InputError(f"source: expected a convention of decoupled weight decay, found {source!r}")
    return shrinkage(1.0, setting, source=source)


def transfer(weight_decay: float, *, old: Setting, new: Setting, source: str | Convention = "house") -> float:
    """The weight decay that reaches in a new setting the same share of its clock, when rate, batch size, budget or momentum change.

    λ′ = λ · (ηT/(1 − m)) / (η′T′/(1 − m′));  T′ = T B/B′ at fixed epochs

    Reference: Lewkowycz and Gur-Ari 2020 (c is one number of network and data). Without momentum in the decay, (1 − m) falls away.

    Args:
        weight_decay: λ, in the convention `source`, and so is the result.
        old, new: the settings. Where steps are unknown in both, or in the new one, the number of epochs is taken to be the same.
        source: a name of `CONVENTIONS`, or a convention.

    Raises:
        InputError: L2 in the gradient of Adam, which has no clock, or a number that is missing.

    >>> found = transfer(1e-3, old=Setting(0.1, steps=1000), new=Setting(0.1, momentum=0.9, steps=10_000))
    >>> round(found, 12)
    1e-05
    >>> transfer(0.25, old=Setting(1e-3, batch_size=128), new=Setting(1e-3, batch_size=512), source="torch-adamw")
    1.0
    """
    checks.not_negative("weight_decay", weight_decay)
    # All clocks are proportional to the coefficient, so that two of them are compared at 1.
    clocks = [shrinkage(1.0, setting, source=source) for setting in (old, new)]
    if math.isnan(clocks[0]):
        raise checks.InputError("source: expected a convention with a clock, found L2 in the gradient of Adam")
    if old.steps is not None and new.steps is not None:
        steps = old.steps / new.steps
    else:
        why = "the number of epochs is held fixed where steps are not given"
        steps = new.need("batch_size", why) / old.need("batch_size", why)
    return weight_decay * clocks[0] / clocks[1] * steps


def _disagreements(value: float, rules: Mapping[str, Advice]) -> tuple[str, ...]:
    """Rules whose range is more than half a decade from the value."""
    found = []
    for name, rule in rules.items():
        low, high = (rule.low, rule.high) if rule.value is None else (rule.value, rule.value)
        factor = max(value / high, low / value) if value > 0 else math.nan
        if factor > NEAR:
            side = "above" if value > high else "below"
            said = f"{low:.3g} to {high:.3g}" if rule.value is None else f"{rule.value:.3g}"
            found.append(f"the probe's {value:.3g} lies a factor of {factor:.2g} {side} the {name} rule's {said}")
    return tuple(found)


def _warnings(curves: Sequence[Curve], peaks: Sequence[Peak], *, budget: int, kind: Convention) -> tuple[str, ...]:
    """Why not to trust a prediction."""
    words = [outcome(curve, peak) for curve, peak in zip(curves, peaks, strict=True)]
    longest, taken = max(curve.steps[-1] for curve in curves), sum(curve.steps[-1] for curve in curves)
    fitted = max((max(curve.training) for curve in curves if curve.training), default=1.0)
    said = {
        "diverged": "training diverged: take a smaller coefficient or learning rate",
        "never above chance": "accuracy was never above chance: take a smaller coefficient or a longer probe",
        "censored": "accuracy still rose at the end of the probe: t_* is a lower bound, and so is the coefficient",
        "early": "the peak is there at the first measurement: t_* is an upper bound; measure more often",
    }
    where = {word: f"{words.count(word)} of {len(words)} probes: " if len(words) > 1 else "" for word in said}
    lows, highs = [peak.low for peak in peaks if peak.usable], [peak.high for peak in peaks if peak.usable]
    facts = {
        f"training accuracy reached {fitted:.3g}: the law is one of networks that can fit their training set, which was not seen": (
            fitted < _FITTED
        ),
        "t_* is known to no better than a factor of 10": bool(lows) and max(highs) > 10 * min(lows),
        f"the budget of {budget} steps is shorter than the probe of {longest}": budget < longest,
        f"the probe took {taken / budget:.1%} of the budget, more than {ALLOWANCE:.0%}": taken > ALLOWANCE * budget,
        "L2 in the gradient of Adam has no clock: the law was found for gradient descent": (
            kind.coupled and kind.optimizer == "adam"
        ),
    }
    return (
        *(where[word] + text for word, text in said.items() if word in words),
        *(text for text, holds in facts.items() if holds),
    )
