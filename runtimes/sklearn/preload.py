"""What a fork server imports before it forks scikit-learn servers: the runtime and the estimators people use most.

Named by ``preload: sklearn`` in the node's image table. A plain start does not import this: there, loading the model
file imports just what it needs. Invariant: importing starts no thread and opens nothing, so forking is safe.
"""

from __future__ import annotations

import sklearn.compose
import sklearn.ensemble
import sklearn.impute
import sklearn.linear_model
import sklearn.naive_bayes
import sklearn.neighbors
import sklearn.neural_network
import sklearn.pipeline
import sklearn.preprocessing
import sklearn.svm
import sklearn.tree  # noqa: F401

import wakeful.serving.http_v2
import wakeful.serving.server  # noqa: F401
