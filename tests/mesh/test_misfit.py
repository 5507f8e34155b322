"""What is said of a scan in another unit, mirrored, turned or elsewhere; and that no face is refused."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from meshdisent.data.synthetic import SyntheticHead
from meshdisent.mesh.alignment import align
from meshdisent.mesh.misfit import misfit


@pytest.fixture(scope="module")
def head():
    return SyntheticHead(1200)


@pytest.fixture(scope="module")
def template(head):
    return head.face(np.zeros(head.identity_size), "neutral")


@pytest.fixture(scope="module")
def scan(head):
    """Somebody who smiles."""
    return head.face(np.random.default_rng(0).normal(size=head.identity_size), "smile")


def said(scan, template):
    message = misfit(scan, template)
    assert message is not None
    assert "\n" not in message
    return message


@given(st.data())
def test_no_person_and_no_expression_is_a_misfit(head, template, data):
    identity = np.random.default_rng(data.draw(st.integers(0, 10_000))).normal(0, 1.5, head.identity_size)
    face = head.face(identity, data.draw(st.sampled_from(head.expressions)))
    axis = np.array(data.draw(st.sampled_from([(1, 0, 0), (0, 1, 0), (0.6, 0, 0.8)])))
    turn = Rotation.from_rotvec(data.draw(st.floats(-15, 15)) * axis, degrees=True)
    middle = template.mean(axis=0)
    scale = data.draw(st.floats(0.6, 1.6))
    assert misfit(turn.apply(face - middle) * scale + middle + data.draw(st.floats(-30, 30)), template) is None


@pytest.mark.parametrize(
    ("factor", "guess", "mended_by", "flag"),
    [
        (1 / 10, "looks like centimeters: its size is 1/", 10, "--unit cm"),
        (1 / 1000, "looks like meters: its size is 1/", 1000, "--unit m."),
        (1 / 100, "looks like decimeters: its size is 1/", 100, None),
        (1 / 25.4, "looks like inches: its size is 1/", 25.4, None),
        (10, "looks like millimeters, given to a model that was trained on centimeters: its size is ", 0.1, None),
        (100, "looks like millimeters, given to a model that was trained on decimeters: its size is ", 0.01, None),
        (1000, "looks like millimeters, given to a model that was trained on meters: its size is ", 0.001, None),
    ],
)
def test_a_unit_is_guessed_with_the_factor_that_mends_it(scan, template, factor, guess, mended_by, flag):
    message = said(scan * factor, template)
    assert message.startswith(guess)
    assert f"Multiply its vertices by {mended_by:g}" in message
    assert (flag or "") in message
    assert ("--unit" in message) == (flag is not None)
    assert misfit(scan * factor * mended_by, template) is None


def test_sizes_are_named(template):
    size = np.sqrt(((template - template.mean(axis=0)) ** 2).sum(axis=1).mean())
    assert said(template / 10, template) == (
        f"looks like centimeters: its size is 1/10 of the template's ({size / 10:.3g} for {size:.3g} mm, root mean "
        "square from the center). Multiply its vertices by 10, or prepare the scans with --unit cm."
    )


@pytest.mark.parametrize("factor", [1 / 3.3, 1 / 50, 1 / 5e6])
def test_a_size_that_no_unit_explains_gets_no_guess(template, factor):
    message = said(template * factor, template)
    assert message.startswith("looks like another unit: its size is 1/")
    found = float(re.search(r"Multiply its vertices by ([0-9.e+]+)\.", message)[1])
    assert found * factor == pytest.approx(1, rel=0.01)


def test_a_size_twice_that_of_the_template_may_be_a_face(template):
    middle = template.mean(axis=0)
    assert misfit((template - middle) * 2.5 + middle, template) is None
    assert misfit((template - middle) / 2.5 + middle, template) is None


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_turn_by_a_right_angle_is_said_as_the_turn_back(scan, template, axis, degrees):
    mend = Rotation.from_euler(axis, degrees, degrees=True)
    turned = mend.inv().apply(scan)
    message = said(turned, template)
    assert message.startswith(f"is turned: a turn by {degrees} degrees about {axis} brings it onto the model's")
    assert "--align rigid" in message
    assert misfit(mend.apply(turned), template) is None
    assert misfit(align(turned, template).apply(turned), template) is None, "as the message says"


def test_any_other_turn_is_said_with_its_axis(template):
    turned = Rotation.from_rotvec([0, -57, 0], degrees=True).apply(template)
    assert said(turned, template).startswith("is turned: a turn by 57 degrees about the axis (0.00, 1.00, 0.00) brings")
    cyclic = said(template[:, [1, 2, 0]], template)
    assert "a turn by 120 degrees about the axis (0.58, 0.58, 0.58)" in cyclic


def test_a_turn_is_accepted_up_to_thirty_degrees(template):
    middle = template.mean(axis=0)
    for degrees, is_fine in ((29, True), (31, False)):
        turned = Rotation.from_euler("y", degrees, degrees=True).apply(template - middle) + middle
        assert (misfit(turned, template) is None) == is_fine


@pytest.mark.parametrize("name", list("xyz"))
def test_a_mirror_image_is_told_by_the_sign_that_changed(scan, template, name):
    mirror = np.where(np.arange(3) == "xyz".index(name), -1.0, 1.0)
    message = said(scan * mirror, template)
    assert message.startswith(f"is a mirror image: it fits the model's template with the sign of {name} changed.")


@pytest.mark.parametrize(("order", "names"), [([0, 2, 1], "y and z"), ([2, 1, 0], "x and z"), ([1, 0, 2], "x and y")])
def test_swapped_axes_are_told_by_their_names(scan, template, order, names):
    assert said(scan[:, order], template).startswith(
        f"is a mirror image: it fits the model's template with {names} swapped."
    )


def test_a_mirror_image_that_is_turned_too_is_a_mirror_image(template):
    assert "only when mirrored and turned" in said(-template, template)


def test_a_scan_elsewhere_is_said_in_millimeters(template):
    size = np.sqrt(((template - template.mean(axis=0)) ** 2).sum(axis=1).mean())
    message = said(template + np.array([0, 0, 400.0]), template)
    assert message.startswith(f"lies 400 mm from the model's template; wanted at most its size, {size:.0f} mm. Align")
    assert misfit(template + np.array([0, 0, 0.99 * size]), template) is None
    assert misfit(template + np.array([0, 0, 1.01 * size]), template) is not None


def test_a_scan_that_is_one_point_is_none(template):
    assert said(np.full_like(template, 7.0), template).startswith("has all its vertices at one place; wanted a face")


def test_a_template_without_size_says_nothing(scan):
    assert misfit(scan, np.zeros_like(scan)) is None
    assert misfit(scan, np.full_like(scan, 5.0)) is None


def test_points_on_a_line_say_nothing_of_a_turn():
    line = np.arange(12.0)[:, None] * [0.0, 1.0, 0.0]
    assert misfit(line[::-1].copy(), line) is None


def test_a_shape_without_any_likeness_is_not_called_turned():
    random = np.random.default_rng(3)
    for _ in range(20):
        assert misfit(random.normal(size=(162, 3)), random.normal(size=(162, 3))) is None
