"""The shape of the package: layers, what an import costs, tests beside modules."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sknorm

PACKAGE = Path(sknorm.__file__).parent
TESTS = Path(__file__).parent
HEAVY = ["torch", "pandas", "numba", "matplotlib", "skorch", "dask"]

# A module imports from lower numbers only, and within its own family.
LAYERS = {
    "sknorm": 0,
    "sknorm._validation": 1,
    "sknorm._array_api": 0,
    "sknorm._dask": 0,
    "sknorm._frames": 0,
    "sknorm._registry": 0,
    "sknorm._device": 0,
    "sknorm.exceptions": 0,
    "sknorm._kernels": 1,
    "sknorm.statistics": 2,
    "sknorm.nn._counts": 0,
    "sknorm.nn._quadrature": 0,
    "sknorm.nn": 1,
    "sknorm.preprocessing": 3,
    "sknorm.nn.activations": 1,
    "sknorm.nn.initializers": 1,
    "sknorm.nn.norms": 1,
    "sknorm.nn.embeddings": 1,
    "sknorm.nn._layers": 2,
    "sknorm.nn.mean_field": 2,
    "sknorm.nn.members": 3,
    "sknorm.nn.mlp": 3,
    "sknorm.nn.tabular": 4,
    "sknorm.neural_network": 5,
    "sknorm.inspection": 7,
}
# Tests that are about more than one module.
ABOUT_MANY = {
    "inspection/test_pathologies",
    "nn/test_theory",
    "test_architecture",
    "test_bad_input",
    "test_common",
    "test_contracts",
    "test_devices",
    "test_docstrings",
    "test_examples",
    "test_guide",
    "test_interoperability",
}


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def family(name):
    """Return the entry of LAYERS that a module falls under."""
    while name not in LAYERS:
        name, _, _ = name.rpartition(".")
    return name


def imports(path):
    """Return the modules of the package that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (below & MODULES.keys()) or {node.module}
    return {name for name in found if name in MODULES}


def test_every_module_has_a_layer():
    loose = [name for name in MODULES if family(name) == "sknorm" and name != "sknorm"]
    assert not loose, f"add these modules to LAYERS: {loose}"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_import_upward_or_sideways(name):
    own = family(name)
    for imported in imports(MODULES[name]):
        other = family(imported)
        assert other == own or LAYERS[other] < LAYERS[own], (
            f"{name} (layer {LAYERS[own]}) imports {imported} (layer {LAYERS[other]})"
        )


def test_no_import_goes_in_a_circle():
    graph = {name: imports(path) for name, path in MODULES.items()}
    done, open_ = set(), []

    def visit(name):
        assert name not in open_, f"circle: {' -> '.join([*open_, name])}"
        if name not in done:
            open_.append(name)
            for imported in graph[name] - {name}:
                visit(imported)
            open_.pop()
            done.add(name)

    for name in graph:
        visit(name)


def test_standardizing_does_not_import_what_it_does_not_need():
    code = (
        "import sys, sknorm, sknorm.preprocessing, sknorm.statistics;"
        f"print([name for name in {HEAVY} if name in sys.modules]);"
        # scikit-learn itself imports pandas where it finds it.
        "from sknorm.preprocessing import Standardizer;"
        "print([n for n in ('torch', 'numba', 'matplotlib') if n in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["[]", "[]"], result.stdout


def test_networks_do_not_import_what_only_pictures_need():
    code = (
        "import sys, sknorm.neural_network;"
        "print([name for name in ('matplotlib', 'numba') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]", result.stdout


def mirrored(path):
    """Return the name of the test file that a module's tests stand in."""
    folders = path.relative_to(PACKAGE).parent.parts
    return "/".join([*folders, f"test_{path.stem.lstrip('_')}"])


def test_tests_mirror_the_package():
    wanted = {mirrored(path) for path in MODULES.values() if path.stem != "__init__"}
    present = {
        path.relative_to(TESTS).with_suffix("").as_posix()
        for path in TESTS.rglob("*.py")
        if path.stem != "conftest"
    } - ABOUT_MANY
    assert wanted - present == set(), "modules without a test file"
    assert present - wanted == set(), "test files without a module"
