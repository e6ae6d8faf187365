"""How far a value lies from where its series has been: an exponentially weighted z-score with a refractory period.

Finch, "Incremental calculation of weighted mean and variance" (2009), section 9:

    diff = x - mean;  step = a * diff;  mean' = mean + step;  variance' = (1 - a) * (variance + diff * step)

with a = max(alpha, 1 / (n + 1)). The score is |x - mean| / sigma before the update; expected are the values within
`trigger` such sigmas of the mean. After a score at or above `trigger` the next `refractory-rows` scores are held below
half of it, so one event alarms once.

Lives here: arithmetic and settings, in plain Python. Does not live here: the contract with the host (app.py).
Only + - * / and sqrt are used, in this order: every machine, and the same model in another language, gives the same bytes.
"""

import json
from math import isfinite, sqrt

SCORE_MAX = 1000.0
"""Greatest score; also the score of any change while sigma is 0."""
MAGNITUDE_MAX = 1e150
"""Values beyond it are taken for it, so that squares stay finite."""
ROWS_MAX = 2**32 - 1

DEFAULTS = {
    "alpha": 0.01,  # weight of a new value, in (0, 1]
    "warm-up-rows": 100,  # rows of a series before its scores mean something
    "trigger": 5.0,  # score that starts the refractory period
    "refractory-rows": 100,  # rows after a trigger whose scores are held down
    "sigma-min": 0.0,  # least sigma, in the unit of the values
    "sigma-min-ratio": 0.001,  # least sigma as a share of the mean
}


class Settings:
    """Settings that were checked."""

    def __init__(self, text: str):
        """Reads JSON; raises ValueError with what is wrong."""
        given = json.loads(text) if text.strip() else {}
        if not isinstance(given, dict):
            raise ValueError("settings are a JSON object")
        unknown = sorted(given.keys() - DEFAULTS.keys())
        if unknown:
            raise ValueError(f"unknown: {', '.join(unknown)}")
        numbers = DEFAULTS | given
        for name, number in numbers.items():
            if type(number) not in (int, float):
                raise ValueError(f"{name} must be a number")
        for name in ("warm-up-rows", "refractory-rows"):
            if type(numbers[name]) is not int or not 0 <= numbers[name] <= ROWS_MAX:
                raise ValueError(f"{name} must be a whole number from 0 to {ROWS_MAX}")
        if not 0.0 < numbers["alpha"] <= 1.0:
            raise ValueError("alpha must be above 0 and at most 1")
        for name in ("trigger", "sigma-min", "sigma-min-ratio"):
            if not isfinite(numbers[name]) or numbers[name] < 0.0:
                raise ValueError(f"{name} must be finite and not negative")
        self.alpha = float(numbers["alpha"])
        self.warm_up_rows = numbers["warm-up-rows"]
        self.trigger = float(numbers["trigger"])
        self.refractory_rows = numbers["refractory-rows"]
        self.sigma_min = float(numbers["sigma-min"])
        self.sigma_min_ratio = float(numbers["sigma-min-ratio"])


def bounded(value: float) -> float:
    """A value within what is calculated with."""
    if not value > -MAGNITUDE_MAX:
        return -MAGNITUDE_MAX
    return value if value < MAGNITUDE_MAX else MAGNITUDE_MAX


def fold(series: tuple, value: float, settings: Settings) -> tuple:
    """Scores a value, then learns it: (rows, refractory, mean, variance) -> ((score, low, high), the new series)."""
    rows, refractory, mean, variance = series
    diff = bounded(value) - mean
    sigma = settings.sigma_min_ratio * abs(mean)
    if settings.sigma_min > sigma:
        sigma = settings.sigma_min
    deviation = sqrt(variance)
    if deviation > sigma:
        sigma = deviation
    reach = settings.trigger * sigma
    low, high = bounded(mean - reach), bounded(mean + reach)
    if rows == 0 or diff == 0.0:
        score = 0.0
    else:
        # Elsewhere a division by zero is infinite, and capped.
        score = abs(diff) / sigma if sigma > 0.0 else SCORE_MAX
        if not score < SCORE_MAX:
            score = SCORE_MAX

    weight = 1.0 / (rows + 1.0)
    if settings.alpha > weight:
        weight = settings.alpha
    step = weight * diff
    mean += step
    variance = (1.0 - weight) * (variance + diff * step)

    warm = rows >= settings.warm_up_rows
    if rows < ROWS_MAX:
        rows += 1
    if refractory > 0:
        refractory -= 1
        held = settings.trigger / 2.0
        if not score < held:
            score = held
    elif warm and score >= settings.trigger:
        refractory = settings.refractory_rows
    return (score, low, high), (rows, refractory, mean, variance)
