"""Which pictures are nearly the same: saved again, scaled, a little brighter, a little cut.

A *thumbnail* is a picture at 8 x 8 pixels with its brightness and contrast taken out, 192 small numbers. Where two
thumbnails are closer than NEAR the pictures are taken for copies. Bit hashes (dHash of 64 to 256 bits) told copies from
other pictures less well: they say nothing of colour, and on plain areas they hear the noise.

Up to EVERY_PAIR pictures are compared each with each. Above that it is banded hashing (locality-sensitive hashing with
p-stable projections, Datar et al. 2004): the directions in which thumbnails differ most are cut into cells, once for each
band, the cuts elsewhere each time; only neighbours in the sorted cells are compared. Time grows as that of sorting does.
No other picture becomes a copy by it, and few copies are missed: benchmarks/near_duplicates.py counts them.
"""

import numpy as np
from PIL import Image

SIDE = 8
FLAT = 30  # levels added to the contrast, so that a plain picture's noise is not blown up
SCALE = 40  # to whole numbers that fit a byte
NEAR = 3.4  # 98 % of altered copies of world pictures are closer, 1.3 % of other pictures have a neighbour that close
ROWS, COLUMNS = 512, 8192  # of one tile of distances: 16 MB
EVERY_PAIR = 100_000  # pictures, about a minute
BANDS, AXES, CELL = 16, 16, 96.0  # of the hash: how often, how many directions, the width of a cell
NEIGHBOURS = 8  # before it in the sorted cells that a thumbnail is compared with
SAMPLE, PART = 10_000, 2**18  # thumbnails that the directions are found on; thumbnails at once


def thumbnail(picture):
    """A PIL picture -> (192,) int8."""
    small = np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    small = (small - small.mean()) / (small.std() + FLAT)
    return np.clip(np.rint(small * SCALE), -127, 127).astype(np.int8).ravel()


def nearest_before(thumbnails, within=np.inf):
    """(N, 192) int8 -> for each picture, the distance to the nearest one before it and that one's index.

    Distances (N,) float32, infinite for the first; indices (N,). within: of more than EVERY_PAIR pictures only distances up
    to this are found, the others are infinite too; without it every pair is compared, whatever the time.
    """
    thumbnails = np.ascontiguousarray(thumbnails, np.int8).reshape(-1, SIDE * SIDE * 3)
    every = len(thumbnails) <= EVERY_PAIR or np.isinf(within)
    far, where = _every_pair(thumbnails) if every else _by_bands(thumbnails, within)
    far = np.sqrt(np.maximum(far, 0) / thumbnails.shape[1])
    return far if every else np.where(far <= np.float32(within), far, np.float32(np.inf)), where


def _every_pair(thumbnails):
    best, where = np.full(len(thumbnails), np.inf, np.float32), np.zeros(len(thumbnails), int)
    for top in range(0, len(thumbnails), ROWS):
        rows = np.arange(top, min(top + ROWS, len(thumbnails)))
        for left in range(0, rows[-1] + 1, COLUMNS):
            columns = np.arange(left, min(left + COLUMNS, rows[-1] + 1))
            _take_nearer(thumbnails, rows, columns, best, where)
    return best, where


def _take_nearer(thumbnails, rows, columns, best, where):
    """Compare pictures `rows` with those of `columns` before them; both rise. Squared distances: whole, below 2 ** 24."""
    a, b = thumbnails[rows].astype(np.float32), thumbnails[columns].astype(np.float32)
    far = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    far[columns >= rows[:, None]] = np.inf
    index = far.argmin(1)
    value, index = far[np.arange(len(rows)), index], columns[index]
    nearer = (value < best[rows]) | ((value == best[rows]) & (index < where[rows]))
    best[rows[nearer]], where[rows[nearer]] = value[nearer], index[nearer]


def _by_bands(thumbnails, within):
    best, where = np.full(len(thumbnails), np.inf, np.float32), np.zeros(len(thumbnails), int)
    places, limit, rs = _places(thumbnails), thumbnails.shape[1] * within**2, np.random.RandomState(0)
    for band in range(BANDS):
        cells, along = _cells(places, rs)
        # Inside a cell by turns: as they lie, where near ones are neighbours; as they come, where the first copy is early.
        order = np.argsort(cells + along if band % 2 else cells, kind="stable")
        for start in range(0, len(order), PART):
            some = order[start : start + PART + NEIGHBOURS]
            _compare(thumbnails, some, cells[some], places[some], limit, best, where)
    return best, where


def _places(thumbnails):
    """(N, AXES) float32: where thumbnails lie along the directions in which a sample of them differs most."""
    some = thumbnails[:: max(1, len(thumbnails) // SAMPLE)].astype(np.float32)
    middle = some.mean(0)
    axes = np.linalg.eigh((some - middle).T @ (some - middle))[1][:, -AXES:]
    places = np.empty((len(thumbnails), AXES), np.float32)
    for start in range(0, len(places), PART):
        places[start : start + PART] = (thumbnails[start : start + PART] - middle) @ axes
    return places


def _cells(places, rs):
    """Each one's cell, a hash of 64 bits whose low 20 are 0; and its place in the cell along one direction, these 20 bits."""
    shift, factors = rs.uniform(0, CELL, AXES), rs.randint(-(2**62), 2**62, AXES) | 1
    direction = rs.normal(size=AXES) / AXES**0.5
    cells, along = np.empty((2, len(places)), np.int64)
    for start in range(0, len(places), PART):
        part = places[start : start + PART] + shift
        cells[start : start + PART] = (np.floor(part / CELL).astype(np.int64) @ factors) >> 20 << 20
        along[start : start + PART] = np.clip(part @ direction.astype(np.float32) * 64, -(2**19), 2**19 - 1) + 2**19
    return cells, along


def _compare(thumbnails, rows, cells, places, limit, best, where):
    """Compare neighbours in sorted cells; best and where become those of the nearest."""
    for step in range(1, NEIGHBOURS + 1):
        same = np.flatnonzero(cells[step:] == cells[:-step])
        close = ((places[same] - places[same + step]) ** 2).sum(1) <= 1.01 * limit  # never further than as a whole
        pair = np.sort([rows[same[close]], rows[same[close] + step]], 0)
        far = ((thumbnails[pair[0]].astype(np.float32) - thumbnails[pair[1]]) ** 2).sum(1)
        order = np.lexsort((pair[0], far, pair[1]))
        (early, late), far = pair[:, order], far[order]
        first = np.flatnonzero(np.diff(late, prepend=-1))  # of each, the nearest
        nearer = first[far[first] < best[late[first]]]
        best[late[nearer]], where[late[nearer]] = far[nearer], early[nearer]
