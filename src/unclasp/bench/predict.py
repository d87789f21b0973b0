"""Benchmark of a prediction, from file to overlay, by stage."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np

from unclasp.arrays import Floats, Pixels
from unclasp.engines.network import Network, NetworkOutput
from unclasp.engines.onnx_model import in_onnx_runtime
from unclasp.errors import check_at_least
from unclasp.find import faces, palms
from unclasp.find.faces import Face, FaceDetector, open_faces
from unclasp.find.finder import Finder, Regions, open_finder
from unclasp.find.fusion import open_fusion
from unclasp.find.landmarks import LandmarkReading, Landmarks, open_landmarks
from unclasp.find.palms import Palm, PalmDetector, open_palms
from unclasp.find.search import by_finder
from unclasp.picture import read_picture
from unclasp.predictor import Predictor


class _Timed:
    """Accumulates the time of a network's calls in `spent`."""

    spent = 0.0

    @contextmanager
    def _clock(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.spent += time.perf_counter() - start


class _TimedNetwork(_Timed):
    def __init__(self, network: Network) -> None:
        self.network, self.name, self.image_size = network, network.name, network.image_size

    def __call__(self, crops: Pixels, /) -> NetworkOutput:
        with self._clock():
            return self.network(crops)


class _TimedFinder(_Timed, Finder):
    def __call__(self, image: Pixels) -> Regions:
        with self._clock():
            return super().__call__(image)


class _TimedLandmarks(_Timed, Landmarks):
    def read(self, image: Pixels, square: Floats, rotation: float, *, mirrored: bool = False) -> LandmarkReading:
        with self._clock():
            return super().read(image, square, rotation, mirrored=mirrored)


class _TimedPalms(_Timed, PalmDetector):
    def __call__(self, image: Pixels, size: int = palms.SIZE) -> list[Palm]:
        with self._clock():
            return super().__call__(image, size)


class _TimedFaces(_Timed, FaceDetector):
    def __call__(self, image: Pixels, size: int = faces.SIZE) -> list[Face]:
        with self._clock():
            return super().__call__(image, size)


def predict_speed(
    picture: Path, network: Network, *, repeats: int, box: tuple[float, float, float, float] | None,
    threads: int | None = None,
) -> str:  # fmt: skip
    """Time a prediction from file to overlay, and return a table of its stages.

    Args:
        picture: The picture file.
        network: The pose network.
        repeats: Number of predictions to time.
        box: Box of the hands, x1, y1, x2, y2 in px; if None, hands are detected.
        threads: Number of cores that each of the networks for hands and faces may use; by default all.
    """
    check_at_least(1, repeats=repeats)
    timed, spin = _TimedNetwork(network), in_onnx_runtime(network)
    finder = _TimedFinder(open_finder(threads=threads, spin=spin).run)
    landmarks = _TimedLandmarks(open_landmarks(threads=threads, spin=spin).run)
    timed_palms = _TimedPalms(open_palms(threads=threads, spin=spin).run)
    timed_faces = _TimedFaces(open_faces(threads=threads, spin=spin).run)
    predictor = Predictor(
        timed, search=by_finder(finder, timed), landmarks=landmarks, fusion=open_fusion(), palms=timed_palms,
        faces=timed_faces,
    )  # fmt: skip
    networks = {
        "finder": finder, "network": timed, "landmarks": landmarks, "palms": timed_palms, "faces": timed_faces
    }  # fmt: skip
    rows = []
    for repeat in range(-2, repeats):
        for each in networks.values():
            each.spent = 0.0
        marks = [time.perf_counter()]
        image = read_picture(picture)
        marks.append(time.perf_counter())
        pose = predictor(image, box)
        marks.append(time.perf_counter())
        if repeat >= 0:
            read, predicted = np.diff(marks)
            spent = [each.spent for each in networks.values()]
            rows.append((read, *spent, predicted - sum(spent), predicted))
    overlay_times = []
    for _ in range(repeats):  # separately, because it would evict the networks from the caches
        start = time.perf_counter()
        pose.plot()
        overlay_times.append(time.perf_counter() - start)
    stages = ("read", *networks, "crop and lift", "picture to pose", "overlay")
    lines = [f"{picture.name}, {network.name}, {'given box' if box else 'box found'}, medians of {repeats}"]
    lines += [
        f"  {stage:16}{1e3 * median(times):9.2f} ms"
        for stage, times in zip(stages, (*zip(*rows, strict=True), overlay_times), strict=True)
    ]
    return "\n".join(lines)
