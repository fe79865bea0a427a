import importlib.util, os, subprocess, sys

ADDRESS = ""  # of this course; tools/set_address.py writes it


class Stop(Exception):
    def _render_traceback_(self):  # IPython shows this line alone
        return [str(self)]


def run(*command):
    try:
        failed = subprocess.run(command).returncode
    except OSError as error:  # no git here
        failed = error
    if failed:
        raise Stop(
            "没有成功,原因在上面;网络好了再运行这一格 · failed, the reason stands above; once"
            f" the network is back, run this cell again: {' '.join(command)} ({failed})"
        )


if os.path.isdir("../../paidiff_lib"):  # notebooks/en: paths are as in notebooks/
    os.environ.setdefault("PAIDIFF_LANG", "en")
    os.chdir("..")
elif os.path.isdir("../paidiff_lib"):
    os.environ.setdefault("PAIDIFF_LANG", "zh")
if not os.path.isdir("../paidiff_lib"):  # DSW, Colab: fetch the course
    if not (ADDRESS or os.path.isdir("paidiff")):
        raise Stop(
            "这里没有课程:先下载整个仓库,再从它的 notebooks 文件夹打开这一课 · no course"
            " here: download the repository, and open this lesson in its notebooks folder"
        )
    if not os.path.isdir("paidiff"):
        run("git", "clone", "--depth=1", ADDRESS, "paidiff")
    os.chdir("paidiff/notebooks")
if not importlib.util.find_spec("paidiff_lib"):  # install it around the torch here
    run(sys.executable, "../tools/install_here.py")
    sys.path.insert(0, os.path.abspath(".."))

import paidiff_course

paidiff_course.setup()  # offline and quiet, unless you have said otherwise
