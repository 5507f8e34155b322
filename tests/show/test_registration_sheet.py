"""The page of a registration: a scan, stages, and distances with a color bar; points without faces are drawn, too."""

import numpy as np
import pytest

from meshdisent.errors import DataError
from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.registration import RegistrationConfig, register
from meshdisent.mesh.registration_result import FitLimits, RegistrationRefused
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.topology import Topology
from meshdisent.show.registration_sheet import SCAN_COLOR, registration_sheet

QUICK = RegistrationConfig(lengths_mm=(20.0, 5.0), rounds=2)
HERE = [Similarity.identity()]


def ball(shapes, level, radius=80.0):
    vertices, faces = shapes.sphere(level)
    return Topology(radius * vertices * [1.0, 1.2, 0.9], faces)


def test_the_page_has_a_picture_for_the_scan_each_stage_and_the_distance(shapes):
    template, scan = ball(shapes, 2), ball(shapes, 3, 83.0)
    target = TargetSurface.of_mesh(scan.template, scan.faces)
    found = register(template, target, QUICK, starts=HERE)
    page = registration_sheet(
        target, template, found.stages, found.vertices, found.motion, "anna", "fine", backend="software"
    )
    fewer = registration_sheet(
        target, template, found.stages[:1], found.vertices, found.motion, "anna", "fine", backend="software"
    )
    assert page.dtype == np.uint8
    assert 290 < page.shape[1] - fewer.shape[1] < 330
    assert np.abs(found.stages[-1].vertices - found.vertices).max() < 1e-6


def test_points_are_drawn_where_they_are(shapes):
    template, scan = ball(shapes, 2), ball(shapes, 4, 83.0)
    cloud = TargetSurface.of_points(scan.template, vertex_normals(scan.template, scan.faces))
    page = registration_sheet(cloud, template, (), template.template, HERE[0], backend="software")
    first = page[:420, 60:360].reshape(-1, 3) / 255
    bluish = (first[:, 2] > first[:, 0] + 0.03).mean()
    assert SCAN_COLOR[2] > SCAN_COLOR[0]
    assert bluish > 0.2


def test_a_refused_fit_has_all_that_its_picture_needs(shapes):
    template, scan = ball(shapes, 2), ball(shapes, 3, 83.0)
    target = TargetSurface.of_mesh(scan.template, scan.faces)
    strict = RegistrationConfig(lengths_mm=(20.0, 5.0), rounds=2, limits=FitLimits(fewest_seen=2.0))
    with pytest.raises(RegistrationRefused, match="wanted 200% or more") as raised:
        register(template, target, strict, starts=HERE)
    refused = raised.value
    assert isinstance(refused, DataError)
    assert [stage.length_mm for stage in refused.stages] in ([], [20.0], [20.0, 5.0])
    assert refused.vertices is not None
    assert np.linalg.norm(refused.vertices, axis=1).max() < 120
    assert registration_sheet(
        target, template, refused.stages, refused.vertices, refused.motion, backend="software"
    ).shape[2] == 3  # fmt: skip
