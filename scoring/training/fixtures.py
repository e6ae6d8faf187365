#!/usr/bin/env python3
"""Trains small ensembles and writes weights, rows, and what scikit-learn says of the rows: NAME.weights, NAME.csv.

`check` runs it; the rows are chosen to be difficult: at the thresholds and right beside them.
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
)

from train import scores
from weights import LEAF, export

ROWS = 120
NAMES = ("temp", "vibration", "load")


def rows(rng, count, missing):
    """Rows of a machine: vibration follows load, temp follows both, now and then something is off."""
    load = rng.uniform(0, 1, count)
    vibration = 2 * load + rng.normal(0, 0.1, count) + 3 * (rng.uniform(0, 1, count) < 0.05)
    temp = 40 + 20 * load + vibration + rng.normal(0, 0.5, count)
    found = np.column_stack([temp, vibration, load])
    if missing:
        gaps = rng.uniform(0, 1, found.shape) < 0.15
        gaps[gaps.all(axis=1)] = False
        found[gaps] = np.nan
    return found


def difficult(rng, weights, missing):
    """Half of the rows ordinary, half with values at a threshold or as near to one as numbers of 32 or of 64 bits can be."""
    found = rows(rng, ROWS, missing)
    nodes = np.frombuffer(weights[weights.index(b"load") + 4 :], dtype=np.uint8)
    count = int.from_bytes(weights[16:20], "little")
    kind = np.dtype([("feature", "<u2"), ("flags", "<u2"), ("right", "<u4"), ("value", "<f8")])
    nodes = nodes[-16 * count :].view(kind)
    questions = nodes[(nodes["feature"] != LEAF) & (np.abs(nodes["value"]) < 1e30)]
    for row in found[: ROWS // 2]:
        question = questions[rng.integers(len(questions))]
        threshold = question["value"]
        near = (threshold, np.nextafter(threshold, -np.inf), np.nextafter(threshold, np.inf),
                float(np.float32(threshold)), float(np.nextafter(np.float32(threshold), np.float32(np.inf))))
        row[question["feature"]] = near[rng.integers(len(near))]
    found[-3:] = [[0.0, 0.0, 0.0], [1e6, -1e6, 1e6], [-0.0, 1e-300, 16777217.0]]
    return found


def ensembles(rng):
    """Name, fitted estimator, whether it takes missing values."""
    whole, gaps = rows(rng, 600, False), rows(rng, 600, True)
    off = (rng.uniform(0, 1, 600) < 1 / (1 + np.exp(-2 * (whole[:, 1] - 1)))).astype(int)
    wear = 0.1 * whole[:, 0] + whole[:, 1] * whole[:, 2] + rng.normal(0, 0.05, 600)
    forest = IsolationForest(n_estimators=15, max_samples=32, random_state=1)
    yield "isolation-forest", forest.fit(whole), False
    forest = IsolationForest(n_estimators=15, max_samples=32, max_features=0.7, random_state=2)
    yield "isolation-forest-missing", forest.fit(gaps), True
    small = {"n_estimators": 12, "max_depth": 3, "random_state": 3}
    yield "gradient-boosting-value", GradientBoostingRegressor(**small).fit(whole, wear), False
    yield "gradient-boosting-probability", GradientBoostingClassifier(**small).fit(whole, off), False
    small = {"max_iter": 12, "max_leaf_nodes": 8, "early_stopping": False, "random_state": 4}
    yield "histogram-boosting-value", HistGradientBoostingRegressor(**small).fit(gaps, wear), True
    yield "histogram-boosting-probability", HistGradientBoostingClassifier(**small).fit(gaps, off), True


def main():
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(20_240_607)
    for name, estimator, takes_missing in ensembles(rng):
        weights = export(estimator, NAMES, takes_missing)
        asked = difficult(rng, weights, takes_missing)
        said = scores(estimator, asked)
        cell = lambda value: "" if np.isnan(value) else repr(float(value))
        lines = [",".join([*NAMES, "score"])]
        lines += [",".join([*map(cell, row), cell(score)]) for row, score in zip(asked, said)]
        (directory / f"{name}.weights").write_bytes(weights)
        (directory / f"{name}.csv").write_text("\n".join(lines) + "\n")
        print(f"{name}: {len(weights)} bytes, scores {said.min():.4g} to {said.max():.4g}")


if __name__ == "__main__":
    main()
