"""Every lesson, top to bottom, against a tiny skeleton in the published layout: only the name of the model changes."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SAVED = {  # what a lesson leaves in its folder
    "03": [
        "porcelain/pytorch_lora_weights.safetensors",
        "porcelain_webui.safetensors",
        "article/pytorch_lora_weights.safetensors",
    ],
    "04": ["word/learned_embeds.safetensors", "model/model_index.json", "article/model_index.json"],
    "05": ["lora/pytorch_lora_weights.safetensors", "model/skeleton.json", "script/model_index.json"],
    "06": ["canny/config.json", "script/config.json"],
    "07": ["model/model_index.json", "script/model_index.json"],
}
RUN = """
import json, sys
cells = [cell for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
names = {"__name__": "__main__"}
for cell in cells:
    exec(compile("".join(cell["source"]), f"<{cell['id']}>", "exec"), names)
"""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_runs_on_a_skeleton(path, skeletons, tmp_path, warm):
    (tmp_path / "notebooks").mkdir()
    for name in ("data", "scripts", "tools", "paidiff_lib", "paidiff_app", "paidiff_world", "paidiff_course"):
        (tmp_path / name).symlink_to(ROOT / name)
    done = warm(
        "-c", RUN, path, cwd=tmp_path / "notebooks", PAIDIFF_MODEL=str(skeletons / "artist"), PYTHONPATH=str(ROOT)
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (
        "tiny 64x64" in done.stdout and "picture" in done.stdout and "128x128" not in done.stdout.split("tiny 64x64")[0]
    )
    number = path.name[:2]
    assert [name for name in SAVED.get(number, []) if not (tmp_path / "out" / number / name).is_file()] == []
