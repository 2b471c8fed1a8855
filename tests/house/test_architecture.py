"""Who may know whom: the arrows of the house, read from the code and seen at work."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain

import pytest
from packaging.requirements import Requirement

from tests.house.tree import PACKAGES, manifest, modules

MAY_KNOW = {
    "face_models": set(),
    "inference_server": {"face_models"},
    "gateway_server": set(),
    "mobile_client_mock": set(),
}
TRAINING_ONLY = {
    "matplotlib",
    "onnx",
    "pyarrow",
    "pytorch_grad_cam",
    "safetensors",
    "torch",
    "torchvision",
}
ALEMBIC_RUNS = "gateway_server.migrations.env"  # on the connection that it is given
ON_DEMAND = {"gateway_server.analysis.parquet": {"pyarrow"}}  # an extra, loaded where it is chosen
ENTRY_POINTS = {"inference_server.wsgi", "gateway_server.main", ALEMBIC_RUNS} | {
    f"{p}.__main__" for p in PACKAGES
}
ALL_MODULES = [name for package in PACKAGES for name in modules(package)]
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
SERVING_MODULES = [name for name in ALL_MODULES if not name.startswith("face_models.training")]


def tree_of(module: str) -> ast.Module:
    path = modules(module.partition(".")[0])[module]
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(nodes: ast.AST) -> Iterator[str]:
    for node in ast.walk(nodes):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def roots(names: Iterator[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("module", ALL_MODULES)
def test_a_package_knows_no_other_package_than_the_plan_says(module: str):
    package = module.partition(".")[0]

    known = roots(imports(tree_of(module))) & (PACKAGES.keys() - {package})

    assert known <= MAY_KNOW[package]


@pytest.mark.parametrize("module", SERVING_MODULES)
def test_torch_lives_in_training_alone(module: str):
    assert not roots(imports(tree_of(module))) & TRAINING_ONLY - ON_DEMAND.get(module, set())


@pytest.mark.parametrize("module", SERVING_MODULES)
def test_serving_never_imports_training_at_its_top(module: str):
    body = tree_of(module).body
    top = [name for n in body if not isinstance(n, DEFINITIONS) for name in imports(n)]

    assert not [name for name in top if name.startswith("face_models.training")]


@pytest.mark.parametrize("module", [m for m in ALL_MODULES if m not in ENTRY_POINTS])
def test_a_module_only_defines_things(module: str):
    assert [ast.unparse(node) for node in tree_of(module).body if acts(node)] == []


def acts(node: ast.stmt) -> bool:
    """Whether a statement at a module's top does more than import, define or name something."""
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):
        return ast.unparse(node.test) not in {"TYPE_CHECKING", "__name__ == '__main__'"}
    return isinstance(
        node, ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith | ast.Raise | ast.Assert
    )


IMPORT_ALL = """
import importlib, os, sys

ACTS = {"socket.connect", "sqlite3.connect", "subprocess.Popen", "os.mkdir", "os.remove"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
training_only = sys.argv[1].split(",")

def watch(event, arguments):
    writes = event == "open" and arguments[2] & WRITES and arguments[0] != os.devnull
    if event in ACTS or writes:
        print(current, event, arguments[:2])

sys.addaudithook(watch)
for current in sys.argv[2:]:
    importlib.import_module(current)
print(*(name for name in training_only if name in sys.modules))
"""


def test_importing_every_serving_module_touches_nothing_and_loads_no_torch():
    names = [name for name in SERVING_MODULES if name not in ENTRY_POINTS]

    seen = subprocess.run(
        [sys.executable, "-B", "-c", IMPORT_ALL, ",".join(TRAINING_ONLY), *names],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (seen.returncode, seen.stdout.strip(), seen.stderr) == (0, "", "")


def declared(package: str) -> set[str]:
    project = manifest(PACKAGES[package])["project"]
    lines = chain(project["dependencies"], *project.get("optional-dependencies", {}).values())
    return {canonical(Requirement(line).name) for line in lines}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


OWNERS = importlib.metadata.packages_distributions()
TYPING_ONLY = {"_typeshed"}  # the type checker's own, never there at run time


def owners(package: str) -> set[str]:
    if package in PACKAGES:  # installed editable, which the metadata does not map
        return {f"reunite-{canonical(package)}"}
    return {canonical(owner) for owner in OWNERS.get(package, [])}


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_imports_its_distribution_declares(package: str):
    imported = set().union(*(roots(imports(tree_of(m))) for m in modules(package)))
    foreign = imported - {package} - TYPING_ONLY - sys.stdlib_module_names

    assert {name for name in foreign if not owners(name) & declared(package)} == set()
