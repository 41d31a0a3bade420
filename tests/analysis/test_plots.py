"""Ways of drawing that several analyses share."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from prune.analysis.plots import photograph


@pytest.mark.parametrize(("channels", "shape"), [(1, (4, 6)), (3, (4, 6, 3)), (2, (4, 6))])
def test_images_of_any_channels_are_drawn(channels: int, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).random((4, 6, channels))
    axes = Figure().subplots()
    photograph(axes, pixels)
    (drawn,) = axes.get_images()
    assert drawn.get_array().shape == shape
    assert np.allclose(drawn.get_array(), pixels if channels == 3 else pixels.mean(-1))
    axes.figure.canvas.draw()
