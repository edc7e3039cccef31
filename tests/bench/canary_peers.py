"""The judges of others, as their documentation sets them up, on a steady world: the look of their rollback, or -1.

Arrays are (runs, looks): new units and bad ones of each arm. A look is a minute of 200 requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Array = np.ndarray
BEGIN = 5  # looks before the first test: a test of a handful of requests finds whatever one likes


def first(hits: Array) -> Array:
    """The first look that is true, by run; -1 when none is."""
    return np.where(hits.any(axis=1), hits.argmax(axis=1), -1)


def flagger(new: Array, bad_new: Array, old: Array, bad_old: Array) -> Array:
    """Tutorial: success rate of the last minute at least 99 %, roll back at the fifth failed check."""
    failed = bad_new > 0.01 * new
    return first(failed.cumsum(axis=1) >= 5)


def argo(new: Array, bad_new: Array, old: Array, bad_old: Array) -> Array:
    """Documentation: success rate at least 95 %, failureLimit 3, the rate being that between the last two scrapes.

    Two scrapes a look, so half of its requests; which of the bad ones lie there is drawn with a seed of its own.
    """
    seen = new // 2
    bad = np.random.default_rng(17).hypergeometric(bad_new, new - bad_new, seen)
    failed = bad > 0.05 * seen
    return first(failed.cumsum(axis=1) >= 4)


def loose(new: Array, bad_new: Array, old: Array, bad_old: Array) -> Array:
    """The tutorial with 95 % over the last ten looks, which hold some 200 challenger requests."""
    window = 10
    failed, units = bad_new.cumsum(axis=1), new.cumsum(axis=1)
    failed[:, window:] -= failed[:, :-window].copy()
    units[:, window:] -= units[:, :-window].copy()
    full = np.arange(new.shape[1]) >= window - 1
    return first(((failed > 0.05 * units) & full).cumsum(axis=1) >= 5)


def kayenta(new: Array, bad_new: Array, old: Array, bad_old: Array) -> Array:
    """Mann-Whitney on the series of error rates, with its confidence of 98 %, asked again at each look.

    The baseline is a part of the champion as large as the canary, as Kayenta wants it. Normal approximation; ties of
    looks without an error are corrected for.
    """
    looks = np.arange(1, new.shape[1] + 1)
    size = np.minimum(new, old)
    bad_base = np.random.default_rng(18).hypergeometric(bad_old, old - bad_old, size)
    canary, base = bad_new / np.maximum(new, 1), bad_base / np.maximum(size, 1)
    wins = np.sign(canary[:, :, None] - base[:, None, :])
    u = np.diagonal(wins.cumsum(axis=1).cumsum(axis=2), axis1=1, axis2=2) / 2
    ties = ((canary == 0).cumsum(axis=1) + (base == 0).cumsum(axis=1)).astype(float)
    both = 2 * looks
    spread = looks**2 / 12 * (both + 1 - (ties**3 - ties) / (both * (both - 1)))
    return first((u / np.sqrt(np.maximum(spread, 1e-9)) > 2.326) & (looks >= BEGIN))


def z_each(new: Array, bad_new: Array, old: Array, bad_old: Array) -> Array:
    """A z-test of two proportions at 5 %, at each look."""
    return first((_z(new, bad_new, old, bad_old) > 1.645) & (np.arange(new.shape[1]) >= BEGIN - 1))


def z_once(new: Array, bad_new: Array, old: Array, bad_old: Array) -> Array:
    """The same once, at the end."""
    z = _z(new, bad_new, old, bad_old)
    return np.where(z[:, -1] > 1.645, z.shape[1] - 1, -1)


def _z(new: Array, bad_new: Array, old: Array, bad_old: Array) -> Array:
    n, k, m, j = (one.cumsum(axis=1) for one in (new, bad_new, old, bad_old))
    pooled = (k + j) / (n + m)
    error = np.sqrt(np.maximum(pooled * (1 - pooled) * (1 / np.maximum(n, 1) + 1 / m), 1e-12))
    return np.where((k + j > 0) & (n > 0), (k / np.maximum(n, 1) - j / m) / error, 0.0)


PEERS: Mapping[str, Callable[[Array, Array, Array, Array], Array]] = {
    "Flagger tutorial threshold": flagger,
    "Argo Rollouts documentation threshold": argo,
    "loose threshold (5 % of 200)": loose,
    "Kayenta-like Mann-Whitney, each look": kayenta,
    "z-test, each look": z_each,
    "z-test, once at the end": z_once,
}
