"""Draw the import graph of the house, and measure it: what imports what, how long the files and the functions are.

python tools/import_graph.py            as text: packages, sizes beside their targets, then every module
python tools/import_graph.py --mermaid  the packages and the library's layers as a Mermaid graph, for docs/

Every import counts, one inside a function too; only `if TYPE_CHECKING:` does not, for it never runs. A lazy package's
__init__ (PEP 562, a table of module -> names) points at every module that its table names.
"""

import ast
import json
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "paidiff_lib": set(),
    "paidiff_app": {"paidiff_lib"},
    "paidiff_world": {"paidiff_lib"},
    "paidiff_course": {"paidiff_lib", "paidiff_world"},
}
LESSONS_MAY_IMPORT = {"paidiff_lib", "paidiff_world", "paidiff_course"}
LESSONS_ABOUT_THE_APP = ("09", "10")
# The library from the bottom up; a module may import its own layer and those before it.
LAYERS = [
    ("ground", ["errors", "arguments", "environment", "files"]),
    ("models, prompts, data", ["models", "known_words", "prompts", "datasets", "memory", "schedulers"]),
    ("generate", ["generate", "upscaling", "inpainting", "metrics", "display", "comparison"]),
    ("training, methods", ["training", "methods"]),  # one of the other: `folders` sees that they make no circle
    ("on top", ["acceleration", "cleaning"]),
    ("the names", ["__init__"]),
]
CAPS = {  # lines of Python. The plan said 3,700, 700 and 3,000: explicit parameters and typed errors cost lines
    "paidiff_lib without cleaning": 7320,  # 6,590 before several machines and encoded shards
    "paidiff_lib/cleaning": 1300,  # 990 before Data-Juicer and banded hashing
    "paidiff_app": 5470,
    "paidiff_world": 3200,  # 2,600 before the measures of pictures, a world in steps and measuring in three lines
    "paidiff_course": 480,  # 160 before the exercises that check themselves
}
MEDIAN, LONGEST = 7, 60  # lines of a function, without its docstring
TARGETS = {  # about so many lines; folders end with a slash
    "paidiff_lib/__init__.py": 60,
    "paidiff_lib/errors.py": 50,
    "paidiff_lib/files.py": 70,
    "paidiff_lib/prompts.py": 120,
    "paidiff_lib/generate.py": 130,
    "paidiff_lib/schedulers.py": 35,
    "paidiff_lib/inpainting.py": 50,
    "paidiff_lib/display.py": 200,
    "paidiff_lib/metrics.py": 95,
    "paidiff_lib/comparison.py": 95,
    "paidiff_lib/acceleration.py": 270,
    "paidiff_lib/memory.py": 75,
    "paidiff_lib/models/": 150 + 60 + 260 + 150 + 50 + 40,
    "paidiff_lib/datasets/": 150 + 170 + 80,
    "paidiff_lib/training/": 60 + 190 + 150 + 220 + 90,
    "paidiff_lib/methods/": 60 + 110 + 180 + 180 + 47 + 105 + 53,
    "paidiff_lib/cleaning/": 230 + 44 + 270 + 80 + 80,
    "paidiff_app/cli.py": 220,
    "paidiff_app/doctor.py": 115,
    "paidiff_app/train_cli.py": 150,
    "paidiff_app/engine.py": 330,
    "paidiff_app/widgets.py": 230,
    "paidiff_app/infotext.py": 73,
    "paidiff_app/labels.py": 40,
    "paidiff_app/web/": 120 + 150 + 160,
    "paidiff_app/server/": 280 + 170 + 180 + 60,
    "paidiff_app/onnx/": 150 + 185,
    "paidiff_app/skeleton.py": 270,
    "paidiff_world/heldout.py": 20,
    "paidiff_world/judge.py": 95,
    "paidiff_world/measure.py": 180,
    "paidiff_course/lesson.py": 70,
}


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass
class House:
    """The modules below a folder and their arrows."""

    modules: dict  # dotted name -> path; a package has the name of its folder
    arrows: dict = field(default_factory=lambda: defaultdict(set))  # module -> modules it imports
    dangling: list = field(default_factory=list)  # (module, name): imports of what is not there


def read_house(root=ROOT, packages=MAY_IMPORT):
    """The House in `root`: every module of `packages`, and which it imports."""
    house = House({dotted(path, root): path for name in packages for path in sorted((root / name).rglob("*.py"))})
    for name, path in house.modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        found = [*imported(tree, package), *lazily_imported(tree, package)]
        for target in found:
            _add(house, name, target, packages)
    return house


def _add(house, name, target, packages):
    if target.split(".")[0] not in packages:
        return
    module = next((part for part in parents(target) if part in house.modules), None)
    # `from .x import y`: y is in x, or is a module of it. What lies deeper is not there.
    if module is None or target.count(".") - module.count(".") > 1:
        house.dangling.append((name, target))
    elif module != name:
        house.arrows[name].add(module)


def dotted(path, root):
    """paidiff_lib/models/load.py -> paidiff_lib.models.load; a package's __init__ -> the package."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parents(name):
    """a.b.c, a.b, a"""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def imported(tree, package=""):
    """The full name of everything that `tree` imports: a.b for `import a.b`, a.b.c for `from a.b import c`."""
    for node in running_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def running_nodes(tree):
    """As ast.walk, without what stands below `if TYPE_CHECKING:`."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def lazily_imported(tree, package):
    """What a table {"module": "name name", ...} at the top of a lazy __init__ imports, when it is asked for."""
    if not any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body):
        return
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            pairs = [(ast.literal_eval(k), ast.literal_eval(v)) for k, v in zip(node.value.keys, node.value.values)]
            yield from (f"{package}.{module}.{name}" for module, names in pairs for name in names.split())


def lesson_imports(path):
    """What the code cells of a notebook import."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            yield from imported(ast.parse("".join(cell["source"])))


# --- judging ------------------------------------------------------------------------------------------------------


def package_of(module):
    return module.split(".")[0]


def layer_of(module):
    """How high a module of the library stands; None for those of other packages."""
    package, _, rest = module.partition(".")
    first = rest.split(".")[0] or "__init__"  # the library's own __init__, which knows every name
    return next((n for n, (_, names) in enumerate(LAYERS) if package == "paidiff_lib" and first in names), None)


def unplaced(house):
    """The library's modules that no layer names."""
    return [name for name in house.modules if package_of(name) == "paidiff_lib" and layer_of(name) is None]


def upward(house):
    """The arrows that run up, or between app and world, as (from, to)."""
    pairs = sorted((a, b) for a, found in house.arrows.items() for b in found)
    return [pair for pair in pairs if not _allowed(*pair)]


def _allowed(a, b):
    if package_of(a) != package_of(b):
        return package_of(b) in MAY_IMPORT[package_of(a)]
    low, high = layer_of(a), layer_of(b)
    return low is None or high is None or high <= low


def lesson_faults(path):
    """What a lesson imports and must not: `pretrain`, and the app unless the lesson is about it."""
    about_the_app = path.name.startswith(LESSONS_ABOUT_THE_APP)
    may = LESSONS_MAY_IMPORT | ({"paidiff_app"} if about_the_app else set())
    found = sorted(set(lesson_imports(path)))
    ours = [name for name in found if package_of(name) in MAY_IMPORT]
    return [name for name in ours if package_of(name) not in may or "pretrain" in name.split(".")]


def circles(arrows):
    """Every group of modules that import each other, directly or round about (Tarjan's strongly connected components)."""
    number, low, stack, found = {}, {}, [], []

    def visit(node):
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in arrows.get(node, ()):
            if other not in number:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            found.extend([sorted(group)] if len(group) > 1 else [])

    for node in list(arrows):
        if node not in number:
            visit(node)
    return sorted(found)


def folders(house):
    """The arrows between the folders of each package: paidiff_lib.training for all that lies in it."""
    packages = {name.rpartition(".")[0] for name in house.modules if name.count(".") > 1}
    folder = lambda name: next((part for part in parents(name) if part in packages), name)
    arrows = defaultdict(set)
    for a, found in house.arrows.items():
        arrows[folder(a)] |= {folder(b) for b in found} - {folder(a)}
    return arrows


# --- measuring ----------------------------------------------------------------------------------------------------


def lines(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def sizes(root=ROOT):
    """Lines of Python beside CAPS, by the names of CAPS."""
    counted = {name: sum(map(lines, (root / name).rglob("*.py"))) for name in MAY_IMPORT}
    cleaning = sum(map(lines, (root / "paidiff_lib/cleaning").rglob("*.py")))
    library = {"paidiff_lib without cleaning": counted.pop("paidiff_lib") - cleaning, "paidiff_lib/cleaning": cleaning}
    return {**library, **counted}


def functions(root=ROOT, packages=MAY_IMPORT):
    """(lines without the docstring, file:line name) of every function."""
    found = []
    for path in (path for name in packages for path in sorted((root / name).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((span(node), f"{path.relative_to(root)}:{node.lineno} {node.name}"))
    return found


def span(function):
    """The lines of a function from its def to its end, without its docstring."""
    whole, first = function.end_lineno - function.lineno + 1, function.body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str)
    return whole - (first.end_lineno - first.lineno + 1 if is_text else 0)


def _target_size(root, name):
    place = root / name
    if place.is_dir():
        return sum(map(lines, place.rglob("*.py")))
    return lines(place) if place.is_file() else 0


# --- printing -----------------------------------------------------------------------------------------------------


def package_arrows(house):
    """(from, to) -> how many imports between two packages."""
    counted = defaultdict(int)
    for a, found in house.arrows.items():
        for b in found:
            counted[package_of(a), package_of(b)] += package_of(a) != package_of(b)
    return {pair: count for pair, count in sorted(counted.items()) if count}


def print_text(house, root=ROOT):
    print("packages")
    for (a, b), count in package_arrows(house).items():
        print(f"    {a} -> {b}  ({count} imports)")
    books = sorted((root / "notebooks").glob("*.ipynb"))
    for book in books:
        found = sorted({package_of(name) for name in lesson_imports(book)} & set(MAY_IMPORT))
        print(f"    {book.name} -> {', '.join(found)}")
    faults = [f"{book.name} -> {name}" for book in books for name in lesson_faults(book)]
    print("arrows that run up:", [f"{a} -> {b}" for a, b in upward(house)] + faults or "none")
    print("circles:", circles(house.arrows) or circles(folders(house)) or "none")
    print_sizes(root)
    print("\nmodules")
    for name in house.modules:
        print(f"    {name} -> {', '.join(sorted(house.arrows[name])) or '(nothing of ours)'}")


def print_sizes(root=ROOT):
    print("\nlines of Python                  now    cap")
    for name, now in sizes(root).items():
        print(f"    {name:29}{now:6}{CAPS[name]:7}{'  over' if now > CAPS[name] else ''}")
    print("file or folder                   now  about")
    for name, target in TARGETS.items():
        print(f"    {name:29}{_target_size(root, name):6}{target:7}")
    found = functions(root)
    print(
        f"functions: {len(found)}, median {statistics.median(n for n, _ in found):g} lines (at most {MEDIAN}), "
        f"longest {max(found)[0]} (at most {LONGEST}): {max(found)[1]}"
    )
    for package in MAY_IMPORT:
        own = [n for n, where in found if where.startswith(f"{package}/")]
        print(
            f"    {package:14} {len(own)} functions, median {statistics.median(own or [0]):g}, longest {max(own or [0])}"
        )


def print_mermaid(house):
    print("graph TD")
    for (a, b), count in package_arrows(house).items():
        print(f"    {a} -->|{count}| {b}")
    print("    notebooks --> paidiff_course & paidiff_world & paidiff_lib")
    print("    notebooks -.->|09, 10| paidiff_app")
    print("    subgraph paidiff_lib")
    pairs = {(layer_of(a), layer_of(b)) for a, found in house.arrows.items() for b in found}
    for n, (title, names) in enumerate(LAYERS):
        print(f'        layer{n}["{title}: {", ".join(names)}"]')
    for a, b in sorted((a, b) for a, b in pairs if None not in (a, b) and a != b):
        print(f"        layer{a} --> layer{b}")
    print("    end")


if __name__ == "__main__":
    print_mermaid(read_house()) if "--mermaid" in sys.argv[1:] else print_text(read_house())
