"""Rendered hands as a data set; picture i depends only on (seed, i), so nothing needs to be stored."""

from unclasp import geometry
from unclasp.batch import Sample
from unclasp.synth.generate import Generated, generate
from unclasp.synth.scene import SceneMix

SEEDS = {"train": 1, "val": 2, "test": 3}
"""The seed of each split; val and test are never trained on."""
SIZES = {"train": 1_000_000, "val": 2_000, "test": 2_000}
"""Number of pictures in each split."""


class Synthetic:
    """`size` pictures of synthetic hands, each of which depends only on (seed, index) and the options.

    Args:
        seed: Any integer from 0 on.
        size: Number of pictures.
        mix: Probabilities of the kinds of scenes and views.
        image_size: Side of the square pictures in px.
    """

    def __init__(self, seed: int, size: int, mix: SceneMix | None = None, *, image_size: int = 256) -> None:
        self.seed, self.size, self.mix, self.image_size = seed, size, mix or SceneMix(), image_size

    def __len__(self) -> int:
        return self.size

    @property
    def split(self) -> str:
        """The split that the seed belongs to, or the seed itself."""
        return next((name for name, seed in SEEDS.items() if seed == self.seed), f"seed {self.seed}")

    @property
    def recipe(self) -> str:
        """All that the pictures depend on."""
        return f"seed {self.seed}, {self.image_size} px, {self.mix}"

    @property
    def file_names(self) -> list[str]:
        """The names of the samples, which are not rendered for this."""
        return [self._name(index) for index in range(self.size)]

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.size:
            raise IndexError(f"index must lie in [0, {self.size}), got {index}")
        generated = generate(self.seed, index, size=self.image_size, mix=self.mix)
        return sample_from_generated(generated, self._name(index))

    def _name(self, index: int) -> str:
        return f"synthetic:{self.seed}/{index}"


def sample_from_generated(generated: Generated, name: str) -> Sample:
    """Convert a rendered picture to a `Sample`, with a box as in InterHand2.6M's annotations."""
    valid = generated.valid
    pixels = geometry.project(generated.joints_cam[valid], generated.focal, generated.princpt)
    box = geometry.expand_box(geometry.tight_box(pixels, valid[valid]), geometry.TIGHT_TO_ANNOTATED)
    return Sample(
        image=generated.image, joints_cam=generated.joints_cam, valid=valid, focal=generated.focal,
        princpt=generated.princpt, box=box.astype("float32"), hand_type=generated.hand_type, hand_type_valid=True,
        parts=generated.parts, name=name,
    )  # fmt: skip
