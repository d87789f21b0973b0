"""Evidence of the fusion: both networks' outputs and the truth for the hands of a data set, in a file.

The pictures must not be those that the pose network was trained on, because it is more confident on its training data
than on users' pictures.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from unclasp import geometry
from unclasp.arrays import Array, Floats
from unclasp.batch import Sample
from unclasp.data import Dataset
from unclasp.data.progress import Progress
from unclasp.data.transforms import sight_of
from unclasp.errors import DataError, UnclaspError
from unclasp.files import digest
from unclasp.find.crop_result import LIKELY_PRESENCE, CropResult
from unclasp.find.fusion import NUMBERS, UNIT_MM, can_fuse, fusion_input, in_crop
from unclasp.find.landmarks import FEATURES, SIZE, Landmarks
from unclasp.hands import FLIPPED_JOINTS, HAND_SLICES, JOINTS_PER_HAND, SIDES
from unclasp.npz import read_arrays, write_arrays
from unclasp.predictor import Predictor

EVIDENCE_FORMAT: Final = "fusion evidence 2"
"""Version of the file."""

_MAX_SHIFT: Final = 0.06
"""Largest offset of the crop from the annotated box along each axis, in sides of the box."""
_LOG_SCALE_RANGE: Final = (-0.15, 0.12)
"""Range of the logarithm of the crop's size relative to the annotated box."""
_COLUMNS: Final[dict[str, tuple[type[np.floating], tuple[int, ...]]]] = {
    "numbers": (np.float16, (NUMBERS + FEATURES,)), "own": (np.float32, (JOINTS_PER_HAND, 3)),
    "read": (np.float32, (JOINTS_PER_HAND, 2)), "truth": (np.float32, (JOINTS_PER_HAND, 3)),
    "side_mm": (np.float32, ()),
}  # fmt: skip
"""Type and shape in which each field of `Evidence` is stored for a hand."""


class Evidence(NamedTuple):
    """Both networks' outputs and the truth for a hand, or, with another first axis in each field, for several."""

    numbers: Floats
    """As in `FusionInput`, like `own` and `read`."""
    own: Floats
    read: Floats
    truth: Floats
    """(21, 3) the true joints, in the form of `own`."""
    side_mm: Floats
    """() how wide the landmark network's crop is at the true wrist."""

    def as_stored(self) -> "Evidence":
        """Return the evidence of a hand in the types in which it is stored."""
        return Evidence(*(field.astype(kind) for field, (kind, _) in zip(self, _COLUMNS.values(), strict=True)))


def collect_evidence(
    predictor: Predictor, dataset: Dataset, out: Path, *, mirrored: bool = False, seed: int = 0,
    limit: int | None = None, progress: Progress | None = None,
) -> int:  # fmt: skip
    """Run both networks on each hand of a data set, and write their outputs and the true joints to a file.

    Args:
        predictor: A predictor with a landmark network and a pose network that can be fused (`fusion.can_fuse`).
        dataset: The samples.
        out: Output file, ending in .npz.
        mirrored: Use the mirror images of the samples.
        seed: Seed of the random offsets of the crops from the annotated boxes.
        limit: Use at most this many samples, the first ones.
        progress: Called after every sample with the number done and the total.

    Returns:
        The number of hands.

    Raises:
        DataError: The data set has no usable hand with all its joints.
        UnclaspError: The pose network lacks outputs that the fusion needs, or there is no landmark network.
    """
    landmarks = predictor.landmarks
    if landmarks is None:
        raise UnclaspError("the fusion learns from the landmark network, and the predictor has none: landmarks=True")
    network = predictor.network
    facts = {"format": EVIDENCE_FORMAT, "network": network.name, "digest": digest_of(getattr(network, "source", None))}
    count = len(dataset) if limit is None else min(limit, len(dataset))
    hands: list[Evidence] = []
    for index in range(count):
        sample = mirror_image(dataset[index]) if mirrored else dataset[index]
        rng = np.random.default_rng([seed, index, mirrored])
        result = predictor.crop_predictor.hands_in(sample.image, _random_square(sample.box, rng))
        if not can_fuse(result):
            raise UnclaspError(
                f"{predictor.network.name} cannot be fused: it tells no confidence (unclasp calibrate), no distance of "
                "the wrists, or depths along the camera's axis instead of the crop's line of sight"
            )
        hands += [hand.as_stored() for hand in _hands(landmarks, result, sample)]
        if progress is not None:
            progress(index + 1, count)
    if not hands:
        raise DataError("there is no hand with all its joints in these pictures that the network sees")
    stacked = Evidence(*map(np.stack, zip(*hands, strict=True)))
    write_arrays(out, {name: np.array(fact) for name, fact in facts.items()} | stacked._asdict())
    return len(hands)


def _random_square(box: Floats, rng: np.random.Generator) -> Floats:
    """Return a square (4,) px near an annotated box, as a user's or a finder's might be."""
    square = geometry.square_box(box)
    side = square[2] - square[0]
    middle = (square[:2] + square[2:]) / 2 + rng.uniform(-_MAX_SHIFT, _MAX_SHIFT, 2) * side
    half = side / 2 * np.exp(rng.uniform(*_LOG_SCALE_RANGE))
    return geometry.square_around(middle, half)


def digest_of(weights: Path | None) -> str:
    """Return a hash of a network's file, with the .bin beside an .xml; an empty one for a network without a file."""
    if weights is None:
        return ""
    beside = [weights.with_suffix(".bin")] if weights.suffix == ".xml" else []
    return digest(weights, *beside)


def read_evidence(paths: Sequence[Path]) -> Evidence:
    """Read files of `collect_evidence` into memory, and return the evidence of all hands.

    Raises:
        DataError: A file is missing, damaged or of another kind, or its outputs are from another pose network than
            those of the first file.
    """
    files = [_read(path) for path in paths]
    for path, file in zip(paths, files, strict=True):
        if file["network"] != files[0]["network"] or file["digest"] != files[0]["digest"]:
            first, network = files[0]["network"], file["network"]
            other = f"another file of {first}" if network == first else first
            raise DataError(f"{path} has evidence of {network}, {paths[0]} of {other}: use one network's")
    return Evidence(*(np.concatenate([file[name] for file in files]) for name in Evidence._fields))


def _hands(landmarks: Landmarks, result: CropResult, sample: Sample) -> Iterator[Evidence]:
    """Yield the evidence of each hand with a likely presence.

    Hands must be fully annotated, and the landmark network's output must be finite.
    """
    pixels = geometry.project(np.where(sample.valid[:, None], sample.joints_cam, 1.0), sample.focal, sample.princpt)
    for slot, joints in enumerate(HAND_SLICES):
        is_annotated = sample.hand_type[slot] and sample.valid[joints].all()
        if not is_annotated or result.presence[slot] < LIKELY_PRESENCE:
            continue
        reading = landmarks(sample.image, result.joints_2d[joints], SIDES[slot])
        if not reading.finite:
            continue
        sight = sight_of(result.middles_of_hands[slot], sample.focal, sample.princpt, result.output.depth_axis)
        depths = (sample.joints_cam[joints] - sample.joints_cam[joints][-1]) @ sight / UNIT_MM
        truth = np.column_stack([in_crop(reading, pixels[joints]), depths])
        side = SIZE / geometry.scale_of(reading.crop_from_image)
        side_mm = side * sample.joints_cam[joints][-1, 2] / np.mean(sample.focal)
        yield Evidence(*fusion_input(result, slot, reading), truth, np.asarray(side_mm))


def mirror_image(sample: Sample) -> Sample:
    """Return the mirror image of a sample, without its part mask."""
    width = sample.image.shape[1]
    return replace(
        sample, image=np.ascontiguousarray(sample.image[:, ::-1]), parts=None,
        box=geometry.mirror_box(sample.box, width).astype(np.float32),
        joints_cam=(sample.joints_cam * np.array([-1, 1, 1], np.float32))[FLIPPED_JOINTS],
        valid=sample.valid[FLIPPED_JOINTS], hand_type=sample.hand_type[::-1].copy(),
        princpt=np.array([width - 1 - sample.princpt[0], sample.princpt[1]], np.float32),
    )  # fmt: skip


def _read(path: Path) -> dict[str, Array]:
    """Read a file of `collect_evidence`, and check its format, shapes and values."""
    try:
        arrays = read_arrays(path)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}; make it with unclasp fusion collect") from error
    except ValueError as error:
        raise DataError(f"{path}: expected a file of unclasp fusion collect ({error})") from error
    kind = str(arrays.get("format", "none"))
    if kind != EVIDENCE_FORMAT or arrays.keys() != {"format", "network", "digest", *_COLUMNS}:
        raise DataError(
            f"{path}: expected a file of unclasp fusion collect, format {EVIDENCE_FORMAT!r}, got {kind!r} with "
            f"{', '.join(sorted(arrays))}; collect it with this version"
        )
    for key, (_, shape) in _COLUMNS.items():
        if arrays[key].shape != (len(arrays["numbers"]), *shape) or not np.isfinite(arrays[key]).all():
            raise DataError(f"{path}: {key} is not finite or not of shape (hands, {', '.join(map(str, shape))})")
    return arrays
