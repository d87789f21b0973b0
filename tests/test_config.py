"""Configs: presets, JSON round trips, and validation."""

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from unclasp import config as configs
from unclasp import presets
from unclasp.config import AugmentConfig, Config, Decoder, LossConfig, ModelConfig, Relation, TrainConfig
from unclasp.errors import UnclaspError
from unclasp.training.finder_config import FinderConfig
from unclasp.training.options import RunOptions


@pytest.mark.parametrize("name", list(presets.PRESETS))
def test_presets_survive_json(name: str) -> None:
    config = presets.preset(name)
    assert configs.from_dict(json.loads(json.dumps(configs.to_dict(config)))) == config
    assert presets.preset(name) == config


def test_every_preset_is_another_model() -> None:
    models = [json.dumps(configs.to_dict(build()), sort_keys=True) for build in presets.PRESETS.values()]
    assert len(set(models)) == len(models) == 3 * 16


def test_the_paper_preset_is_what_the_paper_says() -> None:
    config = presets.paper()
    assert config.model.backbone == "resnet50"
    assert config.model.image_size == 256
    assert config.model.iterations == 3
    assert config.model.strides == (32, 16, 8, 4)
    assert config.model.appearance_channels == 289
    assert config.model.decoder is Decoder.DECOUPLED
    assert (config.model.init_relation, config.model.joint_joint_relation) == (Relation.APPEARANCE, Relation.POSITION)
    assert (config.model.joint_image_relation, config.model.regress_from) == (Relation.BOTH, Relation.POSITION)
    assert not config.model.presence_head
    assert not config.model.root_depth_head
    loss = config.loss
    assert (loss.steps_weight, loss.pose_weight, loss.segmentation_weight) == (1, 3, 1)
    assert (loss.plane_weight, loss.depth_weight, loss.plane_threshold, loss.depth_threshold) == (0.5, 1, 1, 3)
    assert loss.focal_gamma == 2
    assert loss.relation_weight == 0
    assert loss.dice_epsilon == 1  # the paper gives no value
    train = config.train
    assert (train.epochs, train.batch_size, train.learning_rate, train.decay_epochs) == (50, 64, 1e-4, (24, 35))
    assert (train.schedule, train.decay_factor) == ("step", 5)  # the paper gives no factor
    assert (train.weight_decay, train.ema_decay, train.warmup_steps, train.clip_norm) == (0, 0, 0, 0)


@pytest.mark.parametrize("size", ["paper", "small", "tiny"])
def test_ablations_change_the_model_alone(size: str) -> None:
    base = presets.preset(size)
    for name, build in presets.PRESETS.items():
        if name.startswith(f"{size}-"):
            assert replace(build(), model=base.model) == base
            assert build().model != base.model


@pytest.mark.parametrize(
    ("iterations", "strides"), [(2, (16, 8, 4)), (3, (32, 16, 8, 4)), (4, (32, 16, 8, 4, 4)), (5, (32, 16, 8, 4, 4, 4))]
)
def test_strides_are_the_initialisation_and_one_per_iteration(iterations: int, strides: tuple[int, ...]) -> None:
    assert ModelConfig(iterations=iterations).strides == strides
    assert len(strides) == iterations + 1


@pytest.mark.parametrize(
    ("make", "field", "value"),
    [
        (ModelConfig, "image_size", 272), (ModelConfig, "image_size", 0), (ModelConfig, "iterations", 1),
        (ModelConfig, "iterations", 6), (ModelConfig, "heads", 8), (ModelConfig, "heads", 0),
        (ModelConfig, "fpn_channels", -1), (ModelConfig, "position_channels", 0), (ModelConfig, "feedforward", 0),
        (ModelConfig, "refine_layers", 0), (LossConfig, "plane_threshold", 0.0), (LossConfig, "depth_threshold", -1.0),
        (LossConfig, "dice_epsilon", 0.0), (LossConfig, "relation_sigma", 0.0), (TrainConfig, "epochs", 0),
        (TrainConfig, "batch_size", 0), (TrainConfig, "learning_rate", 0.0), (TrainConfig, "decay_factor", 0.0),
        (TrainConfig, "ema_decay", 1.0), (TrainConfig, "ema_decay", -0.1), (TrainConfig, "backbone_rate", -0.1),
        (TrainConfig, "learning_rate", float("nan")), (TrainConfig, "frozen_stride", 2),
        (TrainConfig, "schedule", "cosin"),
        (TrainConfig, "weight_decay", -1.0), (TrainConfig, "warmup_steps", -3), (TrainConfig, "clip_norm", -1.0),
        (TrainConfig, "seed", -1), (ModelConfig, "segmentation_channels", -5), (LossConfig, "focal_gamma", -1.0),
        (LossConfig, "pose_weight", -3.0), (AugmentConfig, "scale", 1.0), (AugmentConfig, "colour", -0.5),
        (AugmentConfig, "rotation", -1.0), (AugmentConfig, "flip_probability", 1.5),
        (AugmentConfig, "translation", 1e300), (AugmentConfig, "translation", -0.1), (AugmentConfig, "rotation", 1e300),
        (AugmentConfig, "rotation", float("nan")), (AugmentConfig, "photographic", 1e300), (TrainConfig, "seed", 2**32),
        (RunOptions, "devices", 0), (RunOptions, "workers", -1), (RunOptions, "save_every", 0),
        (RunOptions, "report_every", 0), (RunOptions, "max_steps", 0), (FinderConfig, "seed", -2),
    ],
)  # fmt: skip
def test_errors_name_the_field_and_what_came(make: Callable[..., Any], field: str, value: Any) -> None:
    with pytest.raises(UnclaspError) as caught:
        make(**{field: value})
    assert field in str(caught.value)
    assert str(value) in str(caught.value)


def test_a_decoder_without_relations_has_no_confidence() -> None:
    with pytest.raises(UnclaspError, match="confidence_head reads the decoder's relations"):
        ModelConfig(confidence_head=True, decoder=Decoder.POOLED)
    for decoder in (Decoder.DECOUPLED, Decoder.FUSED):
        assert ModelConfig(confidence_head=True, decoder=decoder).decoder is decoder


def test_the_largest_values_are_accepted() -> None:
    AugmentConfig(translation=1, rotation=180, photographic=10)
    TrainConfig(seed=2**32 - 1)


def test_the_learning_rate_does_not_drop_before_the_start() -> None:
    with pytest.raises(UnclaspError, match="decay_epochs must be at least 0, got -1"):
        TrainConfig(decay_epochs=(24, -1))
    assert TrainConfig(decay_epochs=()).decay_epochs == ()


def test_heads_fit_where_they_divide_both_kinds_of_channels() -> None:
    assert ModelConfig(fpn_channels=223, heads=8).appearance_channels == 256


def test_the_error_for_an_unknown_preset_lists_the_presets() -> None:
    with pytest.raises(UnclaspError, match=r"no preset 'papre'; choose one of: paper, small, tiny"):
        presets.preset("papre")


def nested(changes: dict[str, Any]) -> dict[str, Any]:
    values = configs.to_dict(presets.tiny())
    for name, change in changes.items():
        values[name] = values[name] | change
    return values


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"model": None},
        nested({"model": {"unknown_field": 1}}),
        nested({"model": {"decoder": "coupled"}}),
        nested({"model": {"init_relation": "touch"}}),
        nested({"model": {"iterations": 9}}),
        nested({"train": {"decay_epochs": 24}}),
        nested({"loss": {"alpha": 1}}),
    ],
)
def test_invalid_configs_are_rejected(values: dict[str, Any]) -> None:
    with pytest.raises(UnclaspError, match="not a config of this version"):
        configs.from_dict(values)


@pytest.mark.parametrize("name", ["texture", "style"])
def test_probabilities_lie_between_0_and_1(name: str) -> None:
    for value in (-0.1, 1.5):
        with pytest.raises(UnclaspError, match=f"augment.{name} is a probability"):
            AugmentConfig(**{name: value})


@pytest.mark.parametrize("kind", [Config, ModelConfig, LossConfig, AugmentConfig, TrainConfig])
def test_configs_are_frozen_and_keyword_only(kind: type[Any]) -> None:
    assert is_dataclass(kind)
    assert all(field.kw_only for field in fields(kind))
    assert kind() == kind()
    hash(kind())


def test_with_model_leaves_the_original_alone() -> None:
    config = presets.tiny()
    changed = configs.with_model(config, iterations=2)
    assert (config.model.iterations, changed.model.iterations) == (3, 2)
    assert replace(changed, model=config.model) == config
