"""Cleaning on Data-Juicer: the recipe, the manifest it leaves, and the same pictures as `paidiff curate` keeps.

What runs Data-Juicer is skipped without paidiff[cluster]; on a cluster that loses a node it is benchmarks/cluster.py.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import refused
from test_project import script

from paidiff_lib import CaptionFolder, curate
from paidiff_lib.cleaning.recipe import write_recipe
from paidiff_world import dirty

ROOT = Path(__file__).resolve().parents[1]
needs_the_extra = pytest.mark.skipif(
    not (Path(sys.executable).parent / "dj-process").exists(), reason="没有 paidiff[cluster] · is not installed"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dirty")
    dirty.write(folder, 40, seed=3)
    (folder / "00007.jpg").write_bytes(b"\xff\xd8 cut")
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "set")


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_recipe_names_our_operators_and_lists_the_pictures(folder, tmp_path):
    manifest, faults = write_recipe(folder, tmp_path / "clean.yaml", keep="clip > 0.3 and near > 3")
    recipe = yaml.safe_load((tmp_path / "clean.yaml").read_text(encoding="utf-8"))
    assert manifest == folder / "clean.jsonl" and recipe["export_path"] == str(manifest) and not faults
    names = [name for operator in recipe["process"] for name in operator]
    assert names == ["paidiff_score_mapper", "paidiff_near_deduplicator", "paidiff_rule_filter"]
    assert recipe["process"][2] == {"paidiff_rule_filter": {"keep": "clip > 0.3 and near > 3"}}
    (operators,) = recipe["custom_operator_paths"]
    source = Path(operators).read_text(encoding="utf-8")
    assert all(f'register_module("{name}")' in source for name in names)
    found = rows(Path(recipe["dataset_path"]))
    assert [row["row"] for row in found] == list(range(40)) and found[4]["file_name"] == "00005.jpg"
    assert all(Path(row["images"][0]).is_file() for row in found)
    assert recipe["skip_op_error"] is recipe["use_cache"] is False  # the one loses pictures, the other keeps old scores


def test_captions_of_one_set_are_of_one_kind(folder, tmp_path):
    found = rows(folder / "metadata.jsonl")
    found[0]["text"] = ["一只猫", "小猫"]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, found)), encoding="utf-8")
    write_recipe(folder, tmp_path / "clean.yaml")
    texts = [row["text"] for row in rows(tmp_path / "clean.pictures.jsonl")]
    assert texts[0] == ["一只猫", "小猫"] and texts[1] == [found[1]["text"]]


def test_what_a_recipe_refuses(folder, tmp_path):
    refused(["a .yaml file"], lambda: write_recipe(folder, tmp_path / "clean.json"))
    refused(["cannot read the rule"], lambda: write_recipe(folder, tmp_path / "c.yaml", keep="clip"))
    refused(["name it otherwise"], lambda: write_recipe(folder, tmp_path / "metadata.yaml"))
    (folder / "clean.jsonl").mkdir()
    refused(["would add to what is in it"], lambda: write_recipe(folder, tmp_path / "clean.yaml"))
    assert not [*tmp_path.glob("*.yaml")]


def test_the_command_writes_a_recipe(warm_paidiff, folder, tmp_path):
    done = warm_paidiff("curate", folder, "--recipe", tmp_path / "clean.yaml", "-o", "mine.jsonl")
    assert done.returncode == 0 and "dj-process" in done.stdout and "mine.jsonl" in done.stdout, done.stderr
    assert (tmp_path / "clean.yaml").is_file() and not (folder / "scores.jsonl").exists()


def test_a_folder_of_parts_is_one_manifest(folder):
    """As Ray writes it: a folder with the manifest's name, its files in lines, null where a row has no such column."""
    parts, lines = folder / "clean.jsonl", rows(folder / "metadata.jsonl")
    parts.mkdir()
    for number, some in enumerate((lines[:3], [], lines[3:6])):
        text = "".join(json.dumps(row | {"conditioning_image": None}) + "\n" for row in some)
        (parts / f"3_00000{number}_000000.json").write_text(text, encoding="utf-8")
    data = CaptionFolder(parts)
    assert [item.name for item in data.items] == [row["file_name"] for row in lines[:6]]
    assert data.caption(5) == lines[5]["text"] and data.image(0, 16).size == (16, 16) and not data.has_conditions
    (parts / "4.json").write_text("{\n", encoding="utf-8")
    refused(["clean.jsonl/4.json:1"], lambda: CaptionFolder(parts))


@needs_the_extra
def test_data_juicer_keeps_the_same_pictures(folder, tmp_path):
    found = curate(folder)
    kept = {item.name for item, keep in zip(found.items, found.kept) if keep}
    manifest, _ = write_recipe(folder, tmp_path / "clean.yaml")
    command = [Path(sys.executable).parent / "dj-process", "--config", tmp_path / "clean.yaml"]
    done = subprocess.run(
        [*command, "--np", "1"], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert 3 < len(kept) < 40 and {item.name for item in CaptionFolder(manifest).items} == kept


@pytest.mark.parametrize("edition", [".md", ".zh-CN.md"])
def test_the_figures_of_scale_are_the_measured_ones(edition):
    text = (ROOT / f"docs/scale{edition}").read_text(encoding="utf-8")
    near, cluster = (
        json.loads((ROOT / f"benchmarks/{name}.json").read_text(encoding="utf-8"))
        for name in ("near_duplicates", "cluster")
    )
    for size, row in near["sizes"].items():
        figures = f"{row['seconds']:,.1f} | {row['microseconds / n log2 n']:.2f} | {row['peak MB']:,}"
        found, others = (f"{row[key]:.1%}".replace("%", " %") for key in ("altered copies found", "others near"))
        assert f"| {int(size):,} | {figures} | {found} | {others} |" in text
    assert cluster["the same pictures"] and f"{cluster['pictures']:,}" in text
    ways = ("paidiff curate", "dj-process", "dj-process, Ray, a node killed")
    assert all(f"| {cluster[way]['kept']:,} | {cluster[way]['seconds']:,} |" in text for way in ways)
    assert cluster[ways[2]]["killed after, seconds of its processor"]


@pytest.mark.parametrize("edition", [".md", ".zh-CN.md"])
def test_the_tables_of_the_plan_are_computed_from_the_measured(edition):
    plan, text = script(ROOT / "benchmarks/plan.py"), (ROOT / f"docs/scale{edition}").read_text(encoding="utf-8")
    tables = plan.tables()
    assert [len(table) for table in tables] == [2, 9, 3] and all("\n".join(table) in text for table in tables)
    counted = json.loads(plan.RECORD.read_text(encoding="utf-8"))["published"]
    assert all(f"{counted[kind] / 1e12:.2f}" in text for kind in ("encode", "forward"))
    day = 8.64  # ten days for 100,000 pictures, one after the other
    card, back = (
        plan.ASSUMED["operations a second of a card"],
        plan.ASSUMED["a step back costs as much as so many forward"],
    )
    seconds = {"clean": day * plan.ASSUMED["processors beside a card"], "encode": 0, "train": 0}
    made = {"mini": {"seconds": seconds, "bytes": {"picture": 1, "encoded": 1}}}
    made["published"] = {"encode": day * card, "forward": day * card / (1 + back), "encoded bytes": 10**6}
    _, days, disks = plan.tables(made)
    assert days[:2] == ["| 100,000 | 1 | 10 | 10 | 10 |", "| 100,000 | 8 | 1.2 | 1.2 | 1.2 |"]
    assert disks[2].startswith("| 1,000,000,000 |") and disks[2].endswith("| 100 | 1,000 |")
