"""The lessons' plots: what is drawn is in the picture."""

import numpy as np

from paidiff_course.plots import clouds, panels, picture


def blue(image):
    """Where a picture has the points' colour, as shares of its width."""
    red, green, blue = np.moveaxis(np.asarray(image, int), -1, 0)
    return np.nonzero((blue > 150) & (red < 60) & (green < 160))[1] / image.width


def test_each_cloud_has_its_points_in_its_own_panel():
    here, nowhere = np.array([[0.0, 0.0]]), np.array([[9.0, 9.0]])
    places = blue(clouds([nowhere, here, nowhere], ["a", "b", "c"]))
    assert len(places) and 0.45 < places.min() and places.max() < 0.55
    assert not len(blue(clouds([nowhere], behind=here)))
    assert clouds([nowhere], behind=here).tobytes() != clouds([nowhere]).tobytes()


def test_a_row_of_panels_is_no_wider_than_a_page():
    assert [picture(panels(count)[0]).size for count in (1, 5)] == [(288, 288), (960, 192)]
