"""Proposes where to predict in a picture without a box: by the finder, by the pose network, or everywhere."""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple, get_args

import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.engines.network import Network
from unclasp.engines.onnx_model import in_onnx_runtime
from unclasp.errors import check_choice
from unclasp.find.boxes import whole_square
from unclasp.find.finder import Finder, open_finder
from unclasp.find.regions import find_region

Detector = Literal["finder", "network", "none"]
"""`finder`: the shipped finder. `network`: the pose network's own search by its part segmentation. `none`: the whole
picture."""

FIRST_CROP_ROOM: Final = 1.2
"""Factor by which the first crop is larger than the usual crop of the proposed region, which is less exact than the
joints that later crops are laid around."""


class Proposal(NamedTuple):
    """Where to predict in a picture."""

    square: Floats
    """(4,) x1, y1, x2, y2 px."""
    others: Floats = np.zeros((0, 4))
    """(N, 4) px: boxes, as annotated, around other hands; the most promising first."""
    fallback: Callable[[], Floats] | None = None
    """A second search, for when the result in the square is doubtful: returns another square."""
    hands_given: bool = False
    """Whether there was no search, because the picture is given as a crop around hands."""


Search = Callable[[Pixels], Proposal]
"""Takes an (H, W, 3) RGB picture: the one to predict, or a variant of it (`second_opinions`)."""


def search_with(detector: Detector, network: Network, *, threads: int | None = None) -> Search:
    """Return the search of a detector.

    Args:
        detector: Its name.
        network: The pose network, which runs the search itself, or where the finder finds nothing.
        threads: The number of cores that the finder may use; all if not given.

    Raises:
        CheckpointError: The shipped finder is missing or damaged.
        UnclaspError: There is no such detector.
    """
    check_choice("detector", detector, get_args(Detector))
    if detector == "none":
        return everywhere
    if detector == "network":
        return by_network(network)
    return by_finder(open_finder(spin=in_onnx_runtime(network), threads=threads), network)


def everywhere(image: Pixels) -> Proposal:
    """Propose the whole picture."""
    return Proposal(whole_square(image), hands_given=True)


def by_network(network: Network) -> Search:
    """Return the search by the pose network's part segmentation (`regions.find_region`)."""
    return lambda image: Proposal(find_region(network, image))


def by_finder(finder: Finder, network: Network) -> Search:
    """Return the search by a finder, or by the network where the finder finds nothing."""
    network_search = by_network(network)

    def search(image: Pixels) -> Proposal:
        regions = finder(image)
        if not len(regions.boxes):
            return network_search(image)
        return proposal_of(regions.boxes)._replace(fallback=lambda: find_region(network, image))

    return search


def proposal_of(boxes: Floats) -> Proposal:
    """Return the proposal for boxes (N, 4) px, tight around the joints, the most promising first."""
    annotated = np.stack([geometry.expand_box(box, geometry.TIGHT_TO_ANNOTATED) for box in boxes])
    square = geometry.square_box(geometry.expand_box(annotated[0], FIRST_CROP_ROOM))
    return Proposal(square, annotated[1:])
