"""Sampled scenes with digests, and the meshes of their hands."""

import hashlib

import numpy as np

from unclasp.synth.hand import HandModel
from unclasp.synth.scene import SceneMix, sample_scene


def scene(seed, *, kinds=None, views=None, size=256, **options):
    if kinds:
        options["kinds"] = dict.fromkeys(kinds, 1.0)
    if views:
        options["views"] = dict.fromkeys(views, 1.0)
    return sample_scene(np.random.default_rng(seed), SceneMix(**options), size=size)


def digest(item):
    hashed = hashlib.sha256()
    for hand in item.hands:
        for array in (hand.vertices, hand.normals, hand.joints):
            hashed.update(array.tobytes())
    hashed.update(np.concatenate([item.focal, item.princpt]).tobytes())
    return hashed.hexdigest()


def faces_of(hand):
    faces = HandModel.load().faces
    return faces if hand.side == "right" else faces[:, ::-1]
