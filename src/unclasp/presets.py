"""Named configs for every model of the paper.

A preset is a function that returns a config: `paper()`, `small()`, `tiny()`. For each row of the paper's Tables 1-3
there is a variant of each of them, with up to three fields changed.
"""

from collections.abc import Callable
from typing import Any, Final

from unclasp.config import (
    AugmentConfig,
    Config,
    Decoder,
    DepthAxis,
    LossConfig,
    ModelConfig,
    Relation,
    TrainConfig,
    with_model,
)
from unclasp.errors import UnclaspError


def paper() -> Config:
    """The published model and recipe: ResNet-50, 256x256, N = 4 levels, T = 3 iterations."""
    return Config()


def small() -> Config:
    """The architecture of the shipped model `small`, for CPUs, with heads for presence and wrist depth.

    The backbone is MediaPipe's hand landmark network. The input is 128x128, at which training starts faster; the
    shipped model uses 192x192 (docs/model-card.md).
    """
    return Config(
        model=ModelConfig(
            backbone="hand_landmarks", image_size=128, fpn_channels=96, segmentation_channels=96,
            position_channels=128, init_residual=True, feedforward=2, refine_layers=2, presence_head=True,
            root_depth_head=True, depth_axis=DepthAxis.CROP,
        ),
        # At the published scale the joint terms dominate the others early on: see docs/decisions.md.
        loss=LossConfig(
            steps_weight=1 / 40, pose_weight=3 / 40, relation_weight=0.6, presence_weight=0.3, root_depth_weight=1 / 40
        ),
        # The forearm tells left from right; with larger rotations, the side from which it enters is lost.
        augment=AugmentConfig(rotation=15),
        train=TrainConfig(
            epochs=10, batch_size=32, learning_rate=1e-3, backbone_rate=0.5, weight_decay=1e-2, schedule="cosine",
            warmup_steps=200, clip_norm=5.0, ema_decay=0.998,
        ),
    )  # fmt: skip


def tiny() -> Config:
    """A model small enough for tests: a forward and backward pass takes milliseconds."""
    return Config(
        model=ModelConfig(
            backbone="tiny", image_size=64, fpn_channels=15, segmentation_channels=16, position_channels=16,
            feedforward=2, refine_layers=1, presence_head=True, root_depth_head=True,
        ),
        train=TrainConfig(epochs=2, batch_size=4, learning_rate=2e-3),
    )  # fmt: skip


def _tables(base: Callable[[], Config]) -> dict[str, Callable[[], Config]]:
    """Return the rows of Tables 1-3 as variants of `base`, by name."""
    fused: dict[str, Any] = {"decoder": Decoder.FUSED}
    rows: dict[str, dict[str, Any]] = {
        "table1-pooled": {"decoder": Decoder.POOLED, "joint_joint": False, "refine": False},
        "table1-ji": {**fused, "joint_joint": False, "refine": False},
        "table1-jj": {**fused, "refine": False},
        "table1-spr": fused,
        "table2-init-position": {"init_relation": Relation.POSITION},
        "table2-init-both": {"init_relation": Relation.BOTH},
        "table2-ji-position": {"joint_image_relation": Relation.POSITION},
        "table2-ji-appearance": {"joint_image_relation": Relation.APPEARANCE},
        "table2-jj-appearance": {"joint_joint_relation": Relation.APPEARANCE},
        "table2-jj-both": {"joint_joint_relation": Relation.BOTH},
        "table2-regress-appearance": {"regress_from": Relation.APPEARANCE},
        "table2-regress-both": {"regress_from": Relation.BOTH},
        "table3-iterations2": {"iterations": 2},
        "table3-iterations4": {"iterations": 4},
        "table3-iterations5": {"iterations": 5},
    }
    return {
        f"{base.__name__}-{name}": lambda changes=changes: with_model(base(), **changes)  # type: ignore[misc]
        for name, changes in rows.items()
    }


PRESETS: Final[dict[str, Callable[[], Config]]] = {
    "paper": paper, "small": small, "tiny": tiny, **_tables(paper), **_tables(small), **_tables(tiny),
}  # fmt: skip
"""Every named config: three sizes, and each row of the paper's Tables 1-3 in each size (`paper-table1-spr`, …)."""


def preset(name: str) -> Config:
    """Return the preset called `name`.

    Raises:
        UnclaspError: No preset has that name.
    """
    if name not in PRESETS:
        raise UnclaspError(f"there is no preset {name!r}; choose one of: {', '.join(PRESETS)}")
    return PRESETS[name]()
