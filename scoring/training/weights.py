"""Ensembles of trees that scikit-learn has trained, as the weights that the shipped model `trees` evaluates.

Their form is at the head of scoring/plugins/trees/src/weights.rs. What the model says is what the library says: it rounds to
32 bits where the library does, goes left where the library goes left, and adds in the order in which it adds.
"""

import struct

import numpy as np
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
)

SUM, LOGISTIC, ISOLATION = 0, 1, 2
NARROW, TAKES_MISSING = 1, 2
LEAF = 0xFFFF
# A threshold that every finite value is below: "is anything there at all". The weights hold finite numbers only.
ANYTHING = np.finfo(np.float64).max


class NotExported(Exception):
    """The estimator has something that the weights cannot say."""


def export(estimator, columns, takes_missing=False):
    """The weights of a fitted estimator over these columns, as bytes.

    takes_missing: rows with missing values are scored, by the rule that each node has learned; else they are left out.
    """
    kinds = {
        IsolationForest: isolation,
        GradientBoostingRegressor: boosted,
        GradientBoostingClassifier: boosted,
        HistGradientBoostingRegressor: boosted_by_bins,
        HistGradientBoostingClassifier: boosted_by_bins,
    }
    if type(estimator) not in kinds:
        raise NotExported(f"{type(estimator).__name__} is not one of {', '.join(kind.__name__ for kind in kinds)}")
    if takes_missing and isinstance(estimator, (GradientBoostingRegressor, GradientBoostingClassifier)):
        raise NotExported(f"{type(estimator).__name__} does not take missing values")
    if len(getattr(estimator, "classes_", [0, 1])) != 2:
        raise NotExported("only two classes are possible")
    if estimator.n_features_in_ != len(columns):
        raise NotExported(f"it was trained with {estimator.n_features_in_} columns, {len(columns)} are named")
    link, narrow, base, divisor, trees = kinds[type(estimator)](estimator)
    return packed(link, narrow, takes_missing, base, divisor, columns, trees)


def path_length(samples):
    """c(n): the mean length of an unsuccessful search in a binary search tree of n keys."""
    samples = np.asarray(samples, dtype=np.float64)
    length = np.where(samples == 2, 1.0, 0.0)
    many = samples > 2
    length[many] = 2.0 * (np.log(samples[many] - 1.0) + np.euler_gamma) - 2.0 * (samples[many] - 1.0) / samples[many]
    return length


def isolation(forest):
    sample = path_length([forest._max_samples])[0]
    if sample == 0:
        raise NotExported("its trees were grown from one row each")
    trees = []
    for estimator, features in zip(forest.estimators_, forest.estimators_features_):
        tree = estimator.tree_
        adds = tree.compute_node_depths() - 1.0 + path_length(tree.n_node_samples)
        trees.append(of_tree(tree, adds, features))
    return ISOLATION, True, 0.0, len(trees) * sample, trees


def boosted(model):
    if model.init is not None:
        raise NotExported("it begins with an estimator of its own (`init`)")
    base = float(model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))[0, 0])
    features = np.arange(model.n_features_in_)
    stages = (stage[0].tree_ for stage in model.estimators_)
    trees = [of_tree(tree, model.learning_rate * tree.value[:, 0, 0], features) for tree in stages]
    return link_of(model, "log_loss"), True, base, 1.0, trees


def boosted_by_bins(model):
    if model.is_categorical_ is not None and np.any(model.is_categorical_):
        raise NotExported("it has categorical columns")
    if getattr(model, "loss", None) in ("poisson", "gamma"):
        raise NotExported(f"its loss is `{model.loss}`")
    trees = []
    for stage in model._predictors:
        nodes = stage[0].nodes
        thresholds = np.where(np.isinf(nodes["num_threshold"]), ANYTHING, nodes["num_threshold"])
        trees.append(
            [
                (LEAF, False, 0, 0, float(node["value"]))
                if node["is_leaf"]
                else (int(node["feature_idx"]), bool(node["missing_go_to_left"]), int(node["left"]), int(node["right"]), float(threshold))
                for node, threshold in zip(nodes, thresholds)
            ]
        )
    return link_of(model, "log_loss"), False, float(np.ravel(model._baseline_prediction)[0]), 1.0, trees


def link_of(model, loss):
    if not hasattr(model, "classes_"):
        return SUM
    if model.loss != loss:
        raise NotExported(f"its loss is `{model.loss}`, not `{loss}`")
    return LOGISTIC


def of_tree(tree, adds, features):
    """Nodes of a tree as (feature, missing goes left, left, right, threshold or what it adds)."""
    missing = tree.missing_go_to_left
    return [
        (LEAF, False, 0, 0, float(adds[node]))
        if tree.children_left[node] == -1
        else (int(features[tree.feature[node]]), bool(missing[node]), int(tree.children_left[node]), int(tree.children_right[node]), float(tree.threshold[node]))
        for node in range(tree.node_count)
    ]


def in_order(nodes):
    """The same tree with each node before what lies below it and its left child right behind it, packed."""
    packed, open_ = [], [(0, None)]
    while open_:
        node, parent = open_.pop()
        if parent is not None:
            # It is a right child: its parent learns where it is.
            packed[parent][2] = len(packed)
        feature, missing_left, left, right, value = nodes[node]
        packed.append([feature, int(missing_left), 0, value])
        if feature != LEAF:
            open_.append((right, len(packed) - 1))
            open_.append((left, None))
    return packed


def packed(link, narrow, takes_missing, base, divisor, columns, trees):
    trees = [in_order(nodes) for nodes in trees]
    flags = NARROW * narrow + TAKES_MISSING * takes_missing
    count = sum(len(nodes) for nodes in trees)
    parts = [struct.pack("<8sBBHIII2d", b"HWTREES1", link, flags, len(columns), len(trees), count, 0, base, divisor)]
    for column in columns:
        name = column.encode()
        parts.append(struct.pack("<B", len(name)) + name)
    parts += [struct.pack("<I", len(nodes)) for nodes in trees]
    parts += [struct.pack("<HHId", *node) for nodes in trees for node in nodes]
    return b"".join(parts)
