#!/usr/bin/env python3
"""Trains an ensemble of trees from rows, and writes the weights that the shipped model `trees` evaluates.

    highwater model export-rows bearing --data ./data --out rows.csv
    python3 -m venv venv && venv/bin/pip install -r scoring/training/requirements.txt
    venv/bin/python scoring/training/train.py rows.csv --kind isolation-forest --out bearing.weights
    highwater model test trees --artifact bearing.weights

isolation-forest   how easily a row is told from the others, 0 to 1; nothing has to be known of the rows
gradient-boosting  predicts the column --target from the others: its value, or with --probability how likely it is 1

Rows are those that `highwater model export-rows` writes: device_id, event_time, and one column for each metric; or metric
and value, where a model has a row for each metric. Of these --metric takes one. What is not a number is missing.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, IsolationForest

from weights import export

NOT_FEATURES = ("device_id", "event_time", "metric")


def arguments(given):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, help="CSV with a header")
    parser.add_argument("--kind", required=True, choices=("isolation-forest", "gradient-boosting"))
    parser.add_argument("--out", required=True, type=Path, help="where the weights go")
    parser.add_argument("--columns", help="the features, in the order of `columns` of the model; default: all that are left")
    parser.add_argument("--metric", help="only rows of this metric")
    parser.add_argument("--target", help="gradient-boosting: the column to predict")
    parser.add_argument("--probability", action="store_true", help="gradient-boosting: the target is 0 or 1")
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--samples", type=int, default=256, help="isolation-forest: rows a tree is grown from")
    parser.add_argument("--leaves", type=int, default=31, help="gradient-boosting: leaves of a tree")
    parser.add_argument("--seed", type=int, default=0)
    said = parser.parse_args(given)
    if (said.kind == "gradient-boosting") != (said.target is not None):
        parser.error("--target goes with gradient-boosting, which needs it")
    return said


def read(path, metric):
    """Header and cells."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    if len(rows) < 2:
        sys.exit(f"{path} has no rows")
    header, rows = rows[0], rows[1:]
    if metric is not None:
        if "metric" not in header:
            sys.exit(f"{path} has no column `metric`")
        place = header.index("metric")
        rows = [row for row in rows if row[place] == metric]
    elif "metric" in header and len({row[header.index("metric")] for row in rows}) > 1:
        sys.exit("the rows are of several metrics: choose one with --metric, or they are taken for one series")
    return header, rows


def number(cell):
    try:
        found = float(cell)
    except ValueError:
        return np.nan
    return found if np.isfinite(found) else np.nan


def column(header, rows, name):
    if name not in header:
        sys.exit(f"there is no column `{name}`; there are: {', '.join(header)}")
    place = header.index(name)
    return np.array([number(row[place]) for row in rows], dtype=np.float64)


def fitted(said, features, target):
    if said.kind == "isolation-forest":
        forest = IsolationForest(n_estimators=said.trees, max_samples=min(said.samples, len(features)), random_state=said.seed)
        return forest.fit(features)
    kind = HistGradientBoostingClassifier if said.probability else HistGradientBoostingRegressor
    model = kind(max_iter=said.trees, max_leaf_nodes=said.leaves, random_state=said.seed, early_stopping=False)
    return model.fit(features, target)


def scores(model, features):
    """What the model `trees` will say of rows."""
    if isinstance(model, IsolationForest):
        return -model.score_samples(features)
    return model.predict_proba(features)[:, 1] if hasattr(model, "classes_") else model.predict(features)


def main(given=None):
    said = arguments(given)
    header, rows = read(said.rows, said.metric)
    left = [name for name in header if name not in NOT_FEATURES and name != said.target]
    names = said.columns.split(",") if said.columns else left
    features = np.column_stack([column(header, rows, name) for name in names])
    keep = ~np.all(np.isnan(features), axis=1)
    target = None
    if said.target is not None:
        target = column(header, rows, said.target)
        keep &= ~np.isnan(target)
        target = target[keep].astype(int) if said.probability else target[keep]
        if said.probability and sorted(set(target)) != [0, 1]:
            sys.exit(f"`{said.target}` has the values {sorted(set(target))[:5]}, not 0 and 1")
    features = features[keep]
    if len(features) < 2:
        sys.exit("fewer than two rows are left")
    takes_missing = bool(np.isnan(features).any())
    model = fitted(said, features, target)
    bytes_ = export(model, names, takes_missing)
    said.out.write_bytes(bytes_)
    found = scores(model, features)
    print(f"{said.out}: {len(bytes_)} bytes, {len(features)} rows of {', '.join(names)}", end="")
    print("; missing values have a rule" if takes_missing else "; rows with missing values will be left out")
    for share in (0.5, 0.99, 0.999, 1.0):
        print(f"  {100 * share:g} % of these rows score up to {np.quantile(found, share):.6g}")


if __name__ == "__main__":
    main()
