"""`curate` as a recipe of Data-Juicer, for more pictures than one machine cleans: paidiff curate DATA --recipe clean.yaml.

    dj-process --config clean.yaml                                          # on this machine
    dj-process --config clean.yaml --executor_type ray --ray_address auto   # on a Ray cluster

Both keep what `curate` keeps and write a manifest beside the pictures; the second writes a folder of parts, which
CaptionFolder reads as one. Every node must see pictures, recipe and models under the same paths and have paidiff[cluster].
"""

import json
import os
from pathlib import Path

from ..arguments import explicit
from ..errors import PaidiffError, Refused
from ..files import atomic_file
from .filter import listed, reference, require_output, rule_of

RECIPE = """\
# {count} pictures · 张图. dj-process --config {name}
project_name: paidiff
dataset_path: {pictures}
export_path: {output}
work_dir: {logs}
custom_operator_paths: [{operators}]
executor_type: default  # 集群上 on a cluster: ray
ray_address: auto
np: {processes}  # 几个进程 processes; executor_type: ray 不看它 does not look at it
skip_op_error: false  # true 会悄悄丢掉图 would lose pictures in silence
use_cache: false  # 缓存不看图片变没变 it would not see that a picture has changed
process:
  # Data-Juicer 自己的算子写在这里 · its own operators go here, such as image_nsfw_filter, image_watermark_filter,
  # image_aesthetics_filter with hf_...: a model of the hub. Before ours they change what counts as a picture before.
  - paidiff_score_mapper: {{clip: {clip}, nsfw: {nsfw}}}
  - paidiff_near_deduplicator: {{keep: {keep}}}
  - paidiff_rule_filter: {{keep: {keep}}}
"""


@explicit(rule="keep", clip_model="clip", safety_checker="nsfw")
def write_recipe(
    folder: str | Path,
    recipe: str | Path,
    keep: str | None = None,
    clip: str | None = None,
    nsfw: str | None = None,
    name: str | None = None,
):
    """Write the recipe and, beside it, its list of pictures; returns (the manifest it will write, the faults found).

    keep, clip, nsfw: as for `curate`. name: of the manifest; that of the recipe, .jsonl, unless given. Raises PaidiffError.
    """
    recipe = Path(recipe).expanduser()
    if recipe.suffix not in (".yaml", ".yml"):
        raise PaidiffError("配方要叫 .yaml", "a recipe is a .yaml file", str(recipe))
    name, rule_of_it = name or f"{recipe.stem}.jsonl", rule_of(keep)
    require_output(folder, name)
    folder, items, faults = listed(folder)
    if (folder / name).is_dir():
        zh, en = "已经有这个文件夹,集群会把新的加进旧的里", "is there already: a cluster would add to what is in it"
        raise Refused(zh, en, f"{folder / name}; 先移走它 · move it away")
    pictures = recipe.with_suffix(".pictures.jsonl")
    with atomic_file(pictures) as staging, open(staging, "w", encoding="utf-8") as file:
        several = any(len(item.texts) > 1 for item in items)  # a column is of one kind
        for row, item in enumerate(items):
            found = {"row": row, **reference(item), "images": [str(item.path.resolve())]}
            found["text"] = list(item.texts) if several else item.text
            file.write(json.dumps(found, ensure_ascii=False) + "\n")
    quoted = lambda value: json.dumps(None if value is None else str(value), ensure_ascii=False)  # JSON is YAML
    places = {"pictures": pictures.resolve(), "output": folder.resolve() / name}
    places["logs"] = recipe.with_suffix(".logs").resolve()
    places["operators"] = Path(__file__).with_name("juicer_operators.py")
    options = {"clip": clip, "nsfw": nsfw, "keep": " and ".join(rule_of_it.clauses)}
    filled = {key: quoted(value) for key, value in (places | options).items()}
    with atomic_file(recipe) as staging:
        text = RECIPE.format(count=len(items), name=recipe.name, processes=os.cpu_count(), **filled)
        staging.write_text(text, encoding="utf-8")
    return folder / name, faults
