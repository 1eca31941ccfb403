"""Forty points and an estimator that is fitted to them in a moment."""

import numpy as np

import magnitude_ae as mag

POINTS = np.random.default_rng(0).standard_normal((40, 3)) * [3, 2, 0.1]


def quick(**settings):
    """An estimator that trains for five epochs."""
    plain = {
        "scale": 1.0,
        "max_epochs": 3,
        "strategy": mag.BurnIn(n_burn_in_epochs=2, batch_size=15),
        "progress": False,
        "random_state": 0,
    }
    return mag.MagnitudeAutoencoder(**{**plain, **settings})
