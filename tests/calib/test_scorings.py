"""What may be scored of an output, by its shape."""

import pytest

from calib import scorings
from edge_runtime.bundle import Model
from edge_runtime.errors import ConfigError
from edge_runtime.scoring import Nearest, Network, Part

OUTPUTS = {"segments": [8, 512], "score": []}


def model(part: Part) -> Model:
    return Model(name="a", system="a", inputs={}, outputs=OUTPUTS, window=1024, hop=512, scoring=part)


def test_segments_are_scored_as_vectors():
    scorings.check(model(Nearest(of="segments", metric="euclidean")))


@pytest.mark.parametrize(
    ("part", "said"), [(Network(of="segments"), "it has 4096; choose nearest"), (Nearest(of="score"), "choose network")]
)
def test_an_output_of_another_shape_is_refused(part, said):
    with pytest.raises(ConfigError, match=said):
        scorings.check(model(part))
