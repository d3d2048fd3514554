"""Tables of named parts."""

import pytest

from sknorm._registry import Registry, unknown_name_message


@pytest.fixture
def shapes():
    registry = Registry("shape")
    registry.register("square")(4)
    registry.register("circle")(0)
    return registry


def test_it_is_a_mapping_in_the_order_of_registration(shapes):
    assert dict(shapes) == {"square": 4, "circle": 0}
    assert len(shapes) == 2
    assert "circle" in shapes
    assert repr(shapes) == "Registry('shape': circle, square)"


def test_decorator_returns_what_it_files(shapes):
    @shapes.register("triangle")
    class Triangle: ...

    assert shapes["triangle"] is Triangle


def test_a_name_is_filed_once(shapes):
    with pytest.raises(ValueError, match="shape 'square' is registered twice"):
        shapes.register("square")


def test_unknown_name(shapes):
    with pytest.raises(KeyError, match=r"Unknown shape 'sqare'. Did you mean 'square'"):
        shapes["sqare"]
    message = (
        r"The 'form' parameter of Room: Unknown shape 'x'. Allowed names: circle, sq"
    )
    with pytest.raises(ValueError, match=message):
        shapes.get_named("x", parameter="form", owner="Room")
    assert shapes.get_named("circle", parameter="form", owner="Room") == 0


@pytest.mark.parametrize(
    ("name", "hint"), [("Layer", "Did you mean 'layer'?"), ("zzz", ""), (None, "")]
)
def test_hint(name, hint):
    message = unknown_name_message("norm", name, ["layer", "batch"])
    assert ("Did you mean" in message) == bool(hint)
    assert hint in message
    assert repr(name) in message
    assert message.endswith("Allowed names: batch, layer.")
