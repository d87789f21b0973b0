"""Examples to a batch of tensors: the step from numpy to torch, kept apart so that cutting crops needs no torch."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from unclasp.batch import Batch
from unclasp.data.transforms import PART_STRIDE, Example


def start_worker(_: int) -> None:
    """Keep a loader's process to one thread: it is the processes that share the work."""
    cv2.setNumThreads(0)  # 1 would wait for ever for the parent's threads to end, which a forked process lacks


def collate(examples: Sequence[Example]) -> Batch:
    """Stack examples into a batch of tensors."""
    side = examples[0].image.shape[0] // PART_STRIDE
    no_parts = np.zeros((side, side), dtype=np.int64)
    return Batch(
        image=torch.from_numpy(np.stack([e.image for e in examples]).transpose(0, 3, 1, 2)),
        pose_2p5d=torch.from_numpy(np.stack([e.pose_2p5d for e in examples])),
        valid=torch.from_numpy(np.stack([e.valid for e in examples])),
        parts=torch.from_numpy(np.stack([no_parts if e.parts is None else e.parts for e in examples])),
        parts_valid=torch.tensor([e.parts is not None for e in examples]),
        hand_type=torch.from_numpy(np.stack([e.hand_type for e in examples])),
        hand_type_valid=torch.tensor([e.hand_type_valid for e in examples]),
        root_depth=torch.tensor([e.root_depth for e in examples], dtype=torch.float32),
        root_depth_valid=torch.tensor([e.root_depth_valid for e in examples]),
        names=tuple(e.name for e in examples),
    )
