"""Near duplicates of many pictures: banded hashing finds what comparing every pair finds, and nothing else."""

import numpy as np
import pytest

from paidiff_lib.cleaning import near_duplicates
from paidiff_lib.cleaning.near_duplicates import NEAR, nearest_before, thumbnail
from paidiff_lib.cleaning.rule import Rule
from paidiff_world import dirty, scene


@pytest.fixture(scope="module")
def thumbnails():
    """3,000 of them: 150 scenes turned and blended, every tenth a copy of one before it with its levels moved a little."""
    rs = np.random.RandomState(0)
    scenes = np.stack([thumbnail(scene(seed, size=64)[0]) for seed in range(150)]).astype(np.float32)
    share = rs.uniform(0.5, 0.9, (3000, 1))
    found = scenes[rs.randint(150, size=3000)] * share + scenes[rs.randint(150, size=3000)] * (1 - share)
    for i in range(10, 3000, 10):
        found[i] = found[rs.randint(i)] + rs.normal(size=192) * rs.uniform(0.3, 3.6)
    found[7::100] = found[7]  # the same blank picture again and again
    return np.clip(np.rint(found), -127, 127).astype(np.int8)


def by_bands(monkeypatch, thumbnails, within=NEAR):
    monkeypatch.setattr(near_duplicates, "EVERY_PAIR", 0)
    return nearest_before(thumbnails, within)


def test_bands_find_what_every_pair_finds(thumbnails, monkeypatch):
    far, where = nearest_before(thumbnails)
    near, index = by_bands(monkeypatch, thumbnails)
    close, found = far <= NEAR, np.isfinite(near)
    assert 300 < close.sum() < 1500 and not (found & ~close).any()  # no other picture becomes a copy
    assert found.sum() > 0.995 * close.sum()
    assert (
        np.mean(near[found] == far[found]) > 0.98 and np.mean(index[found] == where[found]) > 0.9
    )  # of equal ones any
    assert (index < np.arange(3000))[found].all()
    assert all(np.array_equal(a, b) for a, b in zip(by_bands(monkeypatch, thumbnails), (near, index)))


def test_altered_copies_are_found_as_before(monkeypatch):
    rs, pictures = np.random.RandomState(5), [scene(seed)[0] for seed in range(120)]
    seen = np.stack([thumbnail(p) for p in [*pictures, *(dirty.altered(p, rs) for p in pictures)]])
    before, now = nearest_before(seen)[0] < NEAR, by_bands(monkeypatch, seen)[0] < NEAR
    assert before[120:].mean() > 0.95 and np.array_equal(before, now)


def test_of_a_thousand_copies_the_first_is_kept(monkeypatch):
    rs, first = np.random.RandomState(1), np.random.RandomState(2).randint(-60, 60, 192)
    others = rs.randint(-60, 60, (2000, 192))
    copies = np.rint(first + rs.normal(size=(1000, 192)) * 1.5)
    order = rs.permutation(3000)
    found = by_bands(monkeypatch, np.concatenate([copies, others])[order].astype(np.int8))[0]
    assert np.isinf(found[order >= 1000]).all() and np.isinf(found[order < 1000]).sum() == 1


def test_without_a_limit_every_pair_is_compared(thumbnails, monkeypatch):
    assert np.isfinite(by_bands(monkeypatch, thumbnails, np.inf)[0][1:]).all()
    assert nearest_before(np.zeros((0, 192)), NEAR)[0].shape == (0,)
    assert by_bands(monkeypatch, thumbnails[:1])[0].tolist() == [np.inf]


REACH = {
    "near > 3": 3,
    "near > 3 and 0 < near <= 4.5": 4.5,
    "clip > 9": 0,
    "not (clip < 0.4 or 5 > near) and blur < 9": 5,
    "near + clip > 3": np.inf,
    "near > clip": np.inf,
    "near > -1 * clip and near > 2": np.inf,
    "near > -3": np.inf,  # a sign is arithmetic: every pair, which is right if slow
}


@pytest.mark.parametrize("text", REACH)
def test_how_far_a_rule_looks(text):
    assert Rule(text, ("near", "clip", "blur")).reach("near") == REACH[text]
