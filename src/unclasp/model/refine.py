"""Spatial position refinement, SPR (section 3.3.2): joints exchange information along the skeleton and globally.

The paper mentions a light graph convolution (local) and an attention module (global), after a reference that is missing
from its bibliography; their sizes and order are ours. The skeletons of both hands are joined by an edge between the
wrists.
"""

import torch
from torch import Tensor, nn

from unclasp.hands import BONES, NUM_JOINTS, ROOTS
from unclasp.model.relation import Similarity, Update


def skeleton_adjacency() -> Tensor:
    """Return the skeleton's adjacency (42, 42) with self-loops and an edge between the wrists; rows sum to 1."""
    adjacency = torch.eye(NUM_JOINTS)
    for joint, neighbour in (*BONES, ROOTS):
        adjacency[joint, neighbour] = adjacency[neighbour, joint] = 1.0
    return adjacency / adjacency.sum(dim=1, keepdim=True)


class RefineBlock(nn.Module):
    """Graph convolution, self-attention and feed-forward network, each with residual connection and norm."""

    adjacency: Tensor

    def __init__(self, channels: int, *, heads: int, feedforward: int) -> None:
        super().__init__()
        self.register_buffer("adjacency", skeleton_adjacency(), persistent=False)
        self.graph = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        self.similarity = Similarity(channels, heads)
        self.update = Update(channels, feedforward * channels, heads)
        self.scale = (channels / heads) ** -0.5
        nn.init.xavier_uniform_(self.graph.weight)

    def forward(self, joints: Tensor) -> Tensor:
        """Map joint features (B, 42, C) to refined ones of the same shape."""
        joints = self.norm(joints + torch.relu(self.adjacency @ self.graph(joints)))
        relation = (self.scale * self.similarity(joints, joints)).softmax(dim=-1)
        refined: Tensor = self.update(joints, relation, joints)
        return refined


def spatial_refinement(channels: int, *, layers: int, heads: int, feedforward: int) -> nn.Sequential:
    """Build SPR, which maps joint features (B, 42, C) to refined ones of the same shape."""
    return nn.Sequential(*(RefineBlock(channels, heads=heads, feedforward=feedforward) for _ in range(layers)))
