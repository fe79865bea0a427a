"""What the two wheels hold. `make test-wheels` installs and uses them; here they are only built and looked at."""

import re
import zipfile

import pytest
from test_ledger import DATA, files as files_of
from test_project import ROOT, script

from paidiff_lib import files

MINI = ROOT / "wheels/paidiff_mini_zh"


@pytest.fixture(scope="module")
def tool():
    return script(ROOT / "tools/build_wheels.py")


@pytest.fixture(scope="module")
def laid_out(tool, tmp_path_factory):
    return tool.lay_out(tmp_path_factory.mktemp("wheels"))


def kept(*folders):
    """Every file of these folders that git has or would take, below the repository."""
    found = [DATA / name for name in files_of(folders)]
    found = [path.parent.resolve() / path.name for path in found]
    return {str(path.relative_to(ROOT)) for path in found if path.is_file() and "__pycache__" not in path.parts}


def test_the_library_wheel_holds_every_file_of_the_packages_and_nothing_else(tool, laid_out, tmp_path):
    """A font, a sprite or a config that no pattern of pyproject.toml names would be missing here."""
    with zipfile.ZipFile(tool.build_wheel(laid_out["paidiff"], tmp_path)) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
        about = {
            name: wheel.read(name).decode() for name in wheel.namelist() if name.endswith(("METADATA", "points.txt"))
        }
    assert set(names) == kept(*tool.PACKAGES)
    assert "paidiff = paidiff_app.cli:main" in "".join(about.values()) and "# paidiff" in "".join(about.values())


def test_the_model_wheel_holds_all_data_but_the_sheet(laid_out, tool):
    package = laid_out[tool.MINI] / tool.MINI
    names = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    assert names == (kept("data") - {"data/sheet.jpg"}) | {"__init__.py"}
    assert sum((package / name).stat().st_size for name in names) < 100e6


def test_the_library_looks_for_that_wheel(tool):
    assert files.PACKAGE == tool.MINI and (MINI / files.PACKAGE / "__init__.py").is_file()


def test_both_wheels_have_one_version():
    versions = [
        re.search(r'^version = "(.+)"', (folder / "pyproject.toml").read_text(encoding="utf-8"), re.M)[1]
        for folder in (ROOT, MINI)
    ]
    assert versions[0] == versions[1]


def test_the_container_copies_what_serving_imports(run_python):
    """deploy/Containerfile has never been built: at least nothing that `paidiff serve` needs stays outside."""
    text = (ROOT / "deploy/Containerfile").read_text(encoding="utf-8")
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", text, re.M) for name in line.split()}
    assert [name for name in copied if not (ROOT / name).exists()] == []
    code = "import sys, paidiff_app.cli, paidiff_app.server.run; print({name.split('.')[0] for name in sys.modules})"
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    ours = {name for name in eval(done.stdout) if name.startswith("paidiff_")}
    assert ours == {"paidiff_lib", "paidiff_app"} and ours | {"data", "pyproject.toml", "README.md"} <= copied
