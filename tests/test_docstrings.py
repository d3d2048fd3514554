"""What the public docstrings promise."""

import importlib
import inspect
import pkgutil
import re

import pytest
from numpydoc.validate import validate
from sklearn.base import BaseEstimator

import sknorm

# Errors of form and gaps. Left out are extended summaries (ES01), See Also (SA*) and
# examples of methods (EX01), which are there where they help, and PR08 and PR09, which
# ask for capitals and full stops where a formula may stand.
ERRORS = {
    "GL03", "GL06", "GL07", "GL08", "SS01", "SS02", "SS03", "SS04", "SS05",
    "PR01", "PR02", "PR03", "PR04", "PR06", "PR07", "PR10", "RT01", "RT03", "YD01",
}  # fmt: skip


def public_modules():
    for info in pkgutil.walk_packages(sknorm.__path__, "sknorm."):
        if not any(part.startswith("_") for part in info.name.split(".")):
            yield importlib.import_module(info.name)


def public_objects():
    """Return each public class and function once, by full name."""
    found = {}
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            part = getattr(module, name)
            if inspect.isclass(part) or inspect.isfunction(part):
                found[f"{part.__module__}.{part.__qualname__}"] = part
    return found


OBJECTS = public_objects()
ESTIMATORS = {
    name: part
    for name, part in OBJECTS.items()
    if inspect.isclass(part) and issubclass(part, BaseEstimator)
}
# What a user calls; the rest of a module's methods is torch's or the registry's.
METHODS = {
    f"{name}.{method}": getattr(part, method)
    for name, part in ESTIMATORS.items()
    for method in ("fit", "partial_fit", "predict", "predict_proba", "transform",
                   "predict_log_proba", "decision_function", "inverse_transform")
    if hasattr(part, method)
}  # fmt: skip


def test_there_is_something_to_look_at():
    assert len(OBJECTS) > 30
    assert len(METHODS) > 10


@pytest.mark.parametrize("name", sorted(OBJECTS | METHODS))
def test_numpydoc(name):
    found = [
        f"{code} {message}"
        for code, message in validate(name)["errors"]
        if code in ERRORS
    ]
    assert not found, found


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_public_things_have_an_example(name):
    part = OBJECTS[name]
    if inspect.isclass(part) and issubclass(part, Exception):
        return
    assert ">>>" in inspect.getdoc(part)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_documented_defaults_are_the_real_ones(name):
    cls = ESTIMATORS[name]
    documented = dict(
        re.findall(r"^(\w+) : .*default=(.+)$", inspect.getdoc(cls), re.MULTILINE)
    )
    signature = inspect.signature(cls).parameters
    assert documented.keys() == signature.keys()
    for parameter, text in documented.items():
        assert eval(text) == signature[parameter].default, parameter
