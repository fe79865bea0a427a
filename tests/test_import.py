"""Importing changes nothing; opening a model changes nothing that is the user's, and never goes to the network unasked."""

import os
import subprocess
import sys

import pytest

from paidiff_lib.environment import DEFAULTS


@pytest.fixture
def bare():
    """bare(code, NAME=value): what a fresh interpreter prints in which none of our variables is set."""

    def run(code, **environment):
        clean = {k: v for k, v in os.environ.items() if k not in DEFAULTS and k != "PAIDIFF_MODEL"}
        command, environment = [sys.executable, "-c", code], {**clean, **environment}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


STATE = """
import logging, os, sys, warnings
def state():
    root = logging.root
    return (dict(os.environ), root.level, list(root.handlers), root.manager.disable, sorted(root.manager.loggerDict),
            list(sys.meta_path), list(sys.path), list(warnings.filters))
before = state()
"""

IMPORTED = """
import paidiff_lib
dir(paidiff_lib), paidiff_lib.__all__
assert state() == before
print(sorted(name.split(".")[0] for name in sys.modules if "site-packages" in (getattr(sys.modules[name], "__file__", 0) or "")))
print(sorted(name for name in sys.modules if name.startswith("paidiff")))
paidiff_lib.PaidiffError, paidiff_lib.__version__
assert state() == before
"""


def test_importing_has_no_effect_on_the_process(bare):
    known = set(eval(bare("import sys; print(sorted({name.split('.')[0] for name in sys.modules}))")))
    foreign, ours = map(eval, bare(STATE + IMPORTED).splitlines())
    assert set(foreign) <= known and ours == ["paidiff_lib"]


HOMES = """
import importlib, pkgutil, sys, paidiff_lib
before = {name: getattr(paidiff_lib, name) for name in paidiff_lib.__all__}
for module in pkgutil.walk_packages(paidiff_lib.__path__, "paidiff_lib."):
    if not module.name.endswith(".juicer_operators"):  # Data-Juicer loads it, and is an extra
        importlib.import_module(module.name)
print([name for name in before if getattr(paidiff_lib, name) is not before[name]])
"""


def test_no_module_takes_the_place_of_a_public_name(bare):
    assert bare(HOMES) == "[]\n"


def test_a_name_that_is_not_there():
    import paidiff_lib

    with pytest.raises(AttributeError, match="no attribute 'drow'"):
        paidiff_lib.drow
    assert set(paidiff_lib.__all__) <= set(dir(paidiff_lib))


LOADED = """
import logging, sys, warnings
import accelerate, diffusers, transformers, huggingface_hub  # accelerate adds a filter of warnings
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
logging.disable(7)
libraries = [library.utils.logging for library in (diffusers, transformers, huggingface_hub)]
for number, library in enumerate(libraries):
    library.set_verbosity(20 + 10 * number)
def state():
    root = logging.root
    bars = [library.is_progress_bar_enabled() for library in libraries[:2]]
    return (root.level, list(root.handlers), root.manager.disable, bars, list(warnings.filters),
            [library.get_verbosity() for library in libraries])
before = state()
import paidiff_lib
seen = []
real = logging.Logger.isEnabledFor
logging.Logger.isEnabledFor = lambda self, level: seen.append(logging.root.manager.disable) or real(self, level)
for task in ("text2img", "img2img"):
    pipe = paidiff_lib.load(FOLDER, task)
try:
    paidiff_lib.load(BROKEN)
except paidiff_lib.PaidiffError as error:
    print(error)
assert state() == before, (state(), before)
assert set(seen) <= {7}, set(seen)  # not while it loads either: other threads log as they like
logging.getLogger("mine").info("heard")
"""


def test_loading_leaves_the_users_logging_as_it_is(bare, published, tmp_path):
    """`published` has .bin files, for which diffusers logs errors; one with a broken config cannot be read."""
    import shutil

    broken = shutil.copytree(published, tmp_path / "broken")
    (broken / "unet/config.json").write_text('{"_class_name": "UNet2DConditionModel", "down_block_types": ["No"]}')
    printed = bare(f"FOLDER, BROKEN = {str(published)!r}, {str(broken)!r}\n{LOADED}").splitlines()
    assert printed[-1] == "INFO:mine:heard"
    assert any("cannot read" in line for line in printed) and not any("ERROR" in line for line in printed), printed


SPIN = """
import os, paidiff_lib
{before}
try:
    paidiff_lib.load("no-such-model")
except paidiff_lib.PaidiffError:
    print(os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(
    "before, environment, value", [("", {}, "1000"), ("", {"GOMP_SPINCOUNT": "7"}, "7"), ("import torch", {}, None)]
)
def test_load_sets_the_spin_only_where_it_helps_and_is_not_set(bare, before, environment, value):
    assert bare(SPIN.format(before=before), **environment) == f"{value}\n"


OWN_CODE = """
import json, pathlib, paidiff_lib
from paidiff_lib.models.download import online
assert not online()
folder = pathlib.Path(FOLDER)
index = json.loads((folder / "model_index.json").read_text())
for change in {"unet": ["my_unet", "MyUNet"]}, {"_class_name": ["pipeline", "MyPipeline"]}:
    (folder / "model_index.json").write_text(json.dumps({**index, **change}))
    try:
        paidiff_lib.load(folder)
    except paidiff_lib.PaidiffError as error:
        print(error)
(folder / "model_index.json").write_text(json.dumps(index))
config = json.loads((folder / "text_encoder/config.json").read_text())
(folder / "text_encoder/config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))
try:
    paidiff_lib.load(folder)
except paidiff_lib.PaidiffError as error:
    print(error)
"""


def test_a_folders_own_code_is_refused_without_the_variable(bare, tiny_folder, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    for name in ("unet/my_unet.py", "unet/unet.py", "pipeline.py", "text_encoder/evil.py"):
        (folder / name).write_text(f"open({str(folder / 'ran')!r}, 'w')")
    lines = bare(f"FOLDER = {str(folder)!r}\n{OWN_CODE}").splitlines()
    assert len(lines) == 3 and all("it wants code of its own" in line for line in lines), lines
    assert not (folder / "ran").exists()


OFFLINE = """
import socket
asked = []
def refuse(*arguments, **_):
    asked.append(arguments)
    raise OSError("no network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
import paidiff_lib
paidiff_lib.load(FOLDER)
for call in (lambda: paidiff_lib.load("artist-large"), lambda: paidiff_lib.load(FOLDER, "controlnet", control="owner/net"),
             lambda: paidiff_lib.curate(PICTURES, keep="width > 0", clip="owner/clip")):
    try:
        call()
    except paidiff_lib.PaidiffError as error:
        print(error)
assert not asked, asked
"""


def test_paidiff_stays_offline_with_the_variable_unset(bare, tiny_folder, tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("一只猫", encoding="utf-8")
    code = f"FOLDER, PICTURES = {str(tiny_folder)!r}, {str(tmp_path)!r}\n{OFFLINE}"
    lines = bare(code, HF_HOME=str(tmp_path / "home"), MODELSCOPE_CACHE=str(tmp_path / "scope")).splitlines()
    assert [word in line for word, line in zip(("HF_HUB_OFFLINE=0", "no ControlNet", "cannot load"), lines)] == [
        True
    ] * 3


def test_a_training_says_nothing_of_the_libraries(bare, tiny_folder, tmp_path):
    """What diffusers logs when weights are cast is no business of a user who has set nothing."""
    from PIL import Image

    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("猫", encoding="utf-8")
    code = "import sys; sys.stderr = sys.stdout\nimport paidiff_lib as p\n"
    code += f"pipe = p.load({str(tiny_folder)!r})\nlist(p.train(p.LoRA(pipe), {str(tmp_path)!r}, steps=1))"
    assert bare(code) == ""
