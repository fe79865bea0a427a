"""Our scores, near duplicates and rule as operators of Data-Juicer; recipe.py writes the YAML that names them.

Data-Juicer loads this file by `custom_operator_paths`, on every node of a Ray cluster too, under a name of its own: so
imports are absolute. It needs paidiff[cluster]. A row is one of recipe.py's list. Operators only add columns until the
rule: a picture that is not kept is before others all the same.
"""

# pyright: reportMissingImports=false
from functools import lru_cache
from pathlib import Path

import numpy as np
from data_juicer.ops.base_op import OPERATORS, Deduplicator, Filter, Mapper

from paidiff_lib.cleaning import filter as filtering
from paidiff_lib.cleaning.filter import BATCH, SCORED, THUMBNAIL
from paidiff_lib.cleaning.near_duplicates import SIDE, nearest_before
from paidiff_lib.datasets.picture import FilePicture

scorers = lru_cache(filtering.open_scorers)  # once in each process


@OPERATORS.register_module("paidiff_score_mapper")
class Score(Mapper):
    """Adds the scores of filter.SCORED, NaN where a picture cannot be read, and its thumbnail. clip, nsfw: as for `curate`."""

    _batched_op = True

    def __init__(self, clip: str | None = None, nsfw: str | None = None, **settings):
        super().__init__(**{"batch_size": BATCH} | settings)
        self.real = clip, nsfw

    def process_batched(self, samples):
        items = [*map(_picture, samples["file_name"], samples["images"], samples["text"])]
        rows = {}
        for start in range(0, len(items), BATCH):
            part = [(i, filtering.open_picture(items[i])) for i in range(start, min(start + BATCH, len(items)))]
            rows |= filtering.score_batch(part, items, scorers(*self.real))
        scores = {name: [float(rows[i].get(name, np.nan)) for i in range(len(items))] for name in SCORED}
        return {**samples, **scores, THUMBNAIL: [rows[i].get(THUMBNAIL, "") for i in range(len(items))]}


@OPERATORS.register_module("paidiff_near_deduplicator")
class Near(Deduplicator):
    """Adds the score near, over all rows in the order of the list. keep: the rule, which says how far to look."""

    _supported_exec_modes = ("default", "ray")

    def __init__(self, keep: str | None = None, **settings):
        super().__init__(**settings)
        self.within = filtering.reach(filtering.rule_of(keep))

    def run(self, dataset, **_):
        if hasattr(dataset, "map_batches"):  # of Ray
            return self._on_a_cluster(dataset)
        rows = np.array(dataset["row"])
        return dataset.add_column("near", self.near([(rows, np.array(dataset[THUMBNAIL], object))])[rows].tolist())

    def near(self, parts):
        """[(rows, thumbnails)] -> by row, (N,): the distance to the nearest before it; NaN where there is no picture."""
        seen = [(rows[texts != ""], "".join(texts[texts != ""])) for rows, texts in parts]
        rows = np.concatenate([some for some, _ in seen])
        thumbnails = np.concatenate([filtering.bytes_of(texts) for _, texts in seen]).reshape(-1, SIDE * SIDE * 3)
        order, every = np.argsort(rows), np.full(max(some.max() for some, _ in parts) + 1, np.nan, np.float32)
        every[rows[order]] = nearest_before(thumbnails[order], self.within)[0]
        return every

    def _on_a_cluster(self, dataset):
        """The thumbnails, 256 bytes a picture, come here; four go back to each. A node that dies is made good by Ray."""
        import ray

        scored = dataset.materialize()  # else the pictures would be scored twice
        parts = scored.select_columns(["row", THUMBNAIL]).iter_batches(batch_format="numpy")
        every = ray.put(self.near([(part["row"], part[THUMBNAIL]) for part in parts]))
        return scored.map_batches(_add_near, fn_args=[[every]], batch_format="pyarrow")


def _add_near(table, every):
    import pyarrow
    import ray

    near = ray.get(every[0])[table["row"].to_numpy()]
    return table.append_column("near", pyarrow.array(near, pyarrow.float64()))


@OPERATORS.register_module("paidiff_rule_filter")
class Keep(Filter):
    """Keeps the rows for which a rule over the scores holds; None is the embedded model's own."""

    _batched_op = True

    def __init__(self, keep: str | None = None, **settings):
        super().__init__(**settings)
        self.rule = filtering.rule_of(keep)

    def compute_stats_batched(self, samples, context=False):
        return samples

    def process_batched(self, samples):
        scores = {name: np.array(samples[name], np.float32) for name in (*SCORED, "near")}
        return np.logical_and.reduce([*filtering.holds(self.rule, filtering.with_aesthetic(scores)).values()]).tolist()


def _picture(name, images, text):
    item = FilePicture(Path(images[0]), name, name)
    item.texts = tuple(text) if isinstance(text, list) else (text,)
    return item
