"""Configuration of model, losses, augmentation and training. Named configs are in `presets`."""

import json
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, get_args, get_type_hints

from unclasp.errors import UnclaspError, check_at_least, check_choice, check_seed
from unclasp.hands import NUM_PARTS


class Relation(StrEnum):
    """Which features a relation (similarity matrix) is computed from: the ticks of Table 2."""

    APPEARANCE = "appearance"
    POSITION = "position"
    BOTH = "both"


class DepthAxis(StrEnum):
    """The line of sight along which the relative depths of a pose are measured."""

    CAMERA = "camera"
    """The camera's axis, as in the paper (section 3.1)."""
    CROP = "crop"
    """The line of sight through the middle of the crop. A crop does not reveal its position in the picture, and hands
    off the middle of a wide-angle picture are seen from another direction. In InterHand2.6M's narrow pictures the two
    are nearly the same."""


class Decoder(StrEnum):
    """How the joint features are computed."""

    DECOUPLED = "decoupled"
    """The paper's decoder: separate appearance and position features, connected only by relations (section 3.3)."""
    FUSED = "fused"
    """A single stream of appearance plus position, otherwise the same: Table 1, rows 2-4."""
    POOLED = "pooled"
    """No decoder: a linear layer maps globally pooled features to the pose: Table 1, row 1."""


Stride = Literal[0, 4, 8, 16, 32]
Schedule = Literal["step", "cosine"]


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise UnclaspError(f"{name} must be greater than 0, got {value}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network (sections 3.2 and 3.3)."""

    backbone: str = "resnet50"
    """resnet18, resnet34, resnet50, efficientnet_lite0, hand_landmarks, tiny (for tests), or timm:NAME."""
    image_size: int = 256
    """Side of the square crop in pixels (section 4.2)."""
    fpn_channels: int = 256
    """C_F, channels of every pyramid level (section 3.2)."""
    segmentation_channels: int = 256
    """Hidden channels of the part segmentation head; 0 makes it one linear layer."""
    position_channels: int = 256
    """C_P, channels of the position features."""
    decoder: Decoder = Decoder.DECOUPLED
    """Whether features are decoupled (Table 1). A fused decoder ignores the four relations below, and a pooled one all
    fields from `iterations` to `refine_layers` but `depth_axis`."""
    iterations: int = 3
    """T, decoder iterations (Table 3). Three use strides 16, 8, 4 after an initialisation at 32; two drop the coarsest
    level, and more repeat the finest one."""
    joint_joint: bool = True
    """J-J in every iteration (section 3.3.2; Table 1, row 3)."""
    refine: bool = True
    """SPR after the last iteration (section 3.3.2; Table 1, row 4)."""
    init_relation: Relation = Relation.APPEARANCE
    """Features of the initialisation's relation (eq. 1; Table 2)."""
    init_residual: bool = False
    """Add the queries to the features that the initialisation gathers, as a transformer layer would. Eq. 2 as printed
    does not, so joints start out nearly identical and learn slowly: see docs/decisions.md."""
    joint_joint_relation: Relation = Relation.POSITION
    """Features of the J-J relation (section 3.3.2; Table 2)."""
    joint_image_relation: Relation = Relation.BOTH
    """Features of the J-I relation (eq. 3; Table 2)."""
    regress_from: Relation = Relation.POSITION
    """Joint features from which the pose is regressed (section 3.3.3; Table 2)."""
    depth_axis: DepthAxis = DepthAxis.CAMERA
    """Axis of the depths (section 3.1): the camera's, or (not in the paper) the line of sight through the middle of the
    crop."""
    heads: int = 1
    """Relation matrices per joint: 1 follows the paper literally; more split both kinds of channels evenly."""
    feedforward: int = 4
    """Hidden width of the feed-forward layers as a multiple of the channels."""
    refine_layers: int = 3
    """Blocks of graph convolution and self-attention in SPR."""
    presence_head: bool = False
    """Predict which hands are in the picture (not in the paper)."""
    root_depth_head: bool = False
    """Predict the depth of the left wrist relative to the right one (not in the paper)."""
    confidence_head: bool = False
    """Predict how far each joint can be trusted (not in the paper); `unclasp calibrate` adds it to a trained model."""
    confidence_context: bool = False
    """The confidence head also reads the shape of the hand and the uncertainty of the whole hand, as those of
    `unclasp calibrate` do."""

    def __post_init__(self) -> None:
        _positive(
            image_size=self.image_size, fpn_channels=self.fpn_channels, position_channels=self.position_channels,
            iterations=self.iterations, heads=self.heads, feedforward=self.feedforward,
            refine_layers=self.refine_layers,
        )  # fmt: skip
        check_at_least(0, segmentation_channels=self.segmentation_channels)
        if self.image_size % 32:
            raise UnclaspError(f"image_size must be a multiple of 32 (the coarsest stride), got {self.image_size}")
        if self.iterations not in range(2, 6):
            raise UnclaspError(f"iterations must be 2, 3, 4 or 5 (Table 3), got {self.iterations}")
        for name, channels in (("appearance", self.appearance_channels), ("position", self.position_channels)):
            if channels % self.heads:
                raise UnclaspError(
                    f"heads must divide the {channels} {name} channels, got {self.heads}; "
                    "appearance channels are fpn_channels + 33, so fpn_channels 223 or 255 suit 8 heads"
                )

        if self.confidence_head and self.decoder is Decoder.POOLED:
            raise UnclaspError("confidence_head reads the decoder's relations, which a pooled one does not have")

    @property
    def appearance_channels(self) -> int:
        """C_F + C_s: channels of the appearance features (section 3.2)."""
        return self.fpn_channels + NUM_PARTS

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride of the level that the initialisation and each iteration read."""
        if self.iterations == 2:
            return (16, 8, 4)
        return (32, 16, 8, *(4,) * (self.iterations - 2))


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The losses of section 3.4. Joint terms use 256-unit space: pixels of a 256x256 crop, and depth in 400/256 mm."""

    steps_weight: float = 1.0
    """Weight of L_2D, the in-plane loss of the intermediate estimates (eq. 11)."""
    pose_weight: float = 3.0
    """lambda_1, weight of L_2.5D, the loss of the final pose (eq. 11)."""
    segmentation_weight: float = 1.0
    """lambda_2, weight of L_seg (eq. 11)."""
    plane_weight: float = 0.5
    """alpha of the final pose: weight of u and v (eq. 6)."""
    depth_weight: float = 1.0
    """beta of the final pose: weight of the depth (eq. 6)."""
    plane_threshold: float = 1.0
    """tau_1, the error at which the in-plane loss changes from quadratic to linear (eq. 7)."""
    depth_threshold: float = 3.0
    """tau_2, the same for the depth."""
    focal_gamma: float = 2.0
    """Focusing parameter of the focal loss (eq. 8); 0 is cross-entropy."""
    dice_epsilon: float = 1.0
    """Keeps the Dice loss of absent classes finite (eq. 9)."""
    relation_weight: float = 0.0
    """Weight of a cross-entropy between relation rows and a Gaussian around the true joint (not in the paper)."""
    relation_sigma: float = 6.0
    """Standard deviation of that Gaussian, in 256-unit space."""
    presence_weight: float = 1.0
    """Weight of the presence head's binary cross-entropy, if the head is enabled."""
    root_depth_weight: float = 1.0
    """Weight of the loss of the relative wrist depth, if the head is enabled."""

    def __post_init__(self) -> None:
        _positive(
            plane_threshold=self.plane_threshold, depth_threshold=self.depth_threshold,
            dice_epsilon=self.dice_epsilon, relation_sigma=self.relation_sigma,
        )  # fmt: skip
        check_at_least(
            0, steps_weight=self.steps_weight, pose_weight=self.pose_weight,
            segmentation_weight=self.segmentation_weight, plane_weight=self.plane_weight,
            depth_weight=self.depth_weight, focal_gamma=self.focal_gamma,
            relation_weight=self.relation_weight, presence_weight=self.presence_weight,
            root_depth_weight=self.root_depth_weight,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Augmentation of the training crops; the defaults are those published in the InterHand2.6M line of work."""

    translation: float = 0.15
    """Maximum shift, as a share of the box's width and height."""
    scale: float = 0.25
    """The box's size is multiplied by 1 + scale * clip(N(0, 1), -1, 1)."""
    rotation: float = 45.0
    """The angle is this many degrees times clip(N(0, 1), -2, 2)."""
    rotation_probability: float = 0.6
    """Probability that a crop is rotated."""
    flip_probability: float = 0.5
    """Probability that a crop is mirrored, with the sides swapped."""
    colour: float = 0.2
    """Each channel is multiplied by a uniform sample from 1 - colour to 1 + colour."""
    photographic: float = 0.0
    """Strength of changes in exposure, contrast, colour, sharpness and noise (`data.photometric`), about 0 to 1; 0
    turns them off."""
    texture: float = 0.0
    """Probability that a crop is blended with a randomly filtered copy of itself (`data.photometric`)."""
    style: float = 0.0
    """Probability, per batch and shallow layer, that crops get the feature statistics of others (`model.style`)."""

    def __post_init__(self) -> None:
        for name in ("rotation_probability", "flip_probability", "texture", "style"):
            if not 0 <= getattr(self, name) <= 1:
                raise UnclaspError(f"augment.{name} is a probability, from 0 to 1; got {getattr(self, name)}")
        for name in ("scale", "colour"):
            if not 0 <= getattr(self, name) < 1:
                raise UnclaspError(f"augment.{name} must lie in [0, 1), got {getattr(self, name)}")
        for name, most in (("translation", 1), ("rotation", 180), ("photographic", 10)):
            if not 0 <= getattr(self, name) <= most:
                raise UnclaspError(f"augment.{name} must lie in [0, {most}], got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Training settings (section 4.2)."""

    epochs: int = 50
    """Passes over the training data."""
    batch_size: int = 64
    """Samples per optimiser step, summed over all devices."""
    learning_rate: float = 1e-4
    """Adam's step size."""
    backbone_rate: float = 1.0
    """The backbone's learning rate as a multiple of `learning_rate`; 0 freezes it, including its statistics."""
    frozen_stride: Stride = 0
    """Freezes the backbone up to its map at this stride, including its statistics; 0 freezes nothing.

    This keeps what the first layers have learned from real pictures, and makes steps faster.
    """
    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW); 0 is Adam."""
    schedule: Schedule = "step"
    """step: divide the learning rate at `decay_epochs`; cosine: decay it to zero."""
    decay_epochs: tuple[int, ...] = (24, 35)
    """The learning rate is divided after this many epochs (section 4.2)."""
    decay_factor: float = 5.0
    """Divisor of the learning rate; not given in the paper, so taken from the closest comparable work."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly from zero."""
    clip_norm: float = 0.0
    """Maximum gradient norm; 0 turns clipping off."""
    ema_decay: float = 0.0
    """Decay of the exponential moving average of the weights, which is then evaluated and shipped; 0 turns it off."""
    seed: int = 0
    """Seed of the weights, the order of the samples and the augmentation."""

    def __post_init__(self) -> None:
        _positive(
            epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate,
            decay_factor=self.decay_factor,
        )  # fmt: skip
        if not 0 <= self.ema_decay < 1:
            raise UnclaspError(f"ema_decay must lie in [0, 1), got {self.ema_decay}")
        check_at_least(
            0, backbone_rate=self.backbone_rate, weight_decay=self.weight_decay, warmup_steps=self.warmup_steps,
            clip_norm=self.clip_norm, decay_epochs=min(self.decay_epochs, default=0),
        )  # fmt: skip
        check_seed(self.seed)
        check_choice("frozen_stride", self.frozen_stride, get_args(Stride))
        check_choice("schedule", self.schedule, get_args(Schedule))


@dataclass(frozen=True, kw_only=True)
class Config:
    """The complete configuration of an experiment; it is stored in every checkpoint."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """The network."""
    loss: LossConfig = field(default_factory=LossConfig)
    """The training losses."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """The augmentation of the training crops."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """The training settings."""


def with_model(config: Config, **changes: Any) -> Config:
    """Return `config` with some fields of its model changed."""
    return replace(config, model=replace(config.model, **changes))


def to_dict(config: Config) -> dict[str, Any]:
    """Return `config` as nested dicts of plain values, as after a round trip through JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return plain


def from_dict(values: dict[str, Any]) -> Config:
    """Rebuild a config from `to_dict`'s values.

    Raises:
        UnclaspError: A field is unknown, missing or invalid.
    """
    try:
        model = dict(values["model"])
        for name, kind in get_type_hints(ModelConfig).items():
            if isinstance(kind, type) and issubclass(kind, StrEnum):
                model[name] = kind(model[name])
        train = dict(values["train"])
        train["decay_epochs"] = tuple(train["decay_epochs"])
        return Config(
            model=ModelConfig(**model), loss=LossConfig(**values["loss"]),
            augment=AugmentConfig(**values["augment"]), train=TrainConfig(**train),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise UnclaspError(f"not a config of this version of unclasp: {error}") from error
