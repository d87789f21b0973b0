"""SPR: the graph of the skeleton, and information flow between all joints."""

import torch

from unclasp.hands import JOINT_NAMES, PARENTS
from unclasp.model.refine import RefineBlock, skeleton_adjacency, spatial_refinement


def test_rows_average_a_joint_with_its_neighbours() -> None:
    adjacency = skeleton_adjacency()
    for joint in range(42):
        neighbours = {joint} | {other for other in range(42) if PARENTS[other] == joint}
        neighbours |= {PARENTS[joint]} if PARENTS[joint] >= 0 else {61 - joint}  # the other wrist
        expected = torch.zeros(42)
        expected[sorted(neighbours)] = 1 / len(neighbours)
        torch.testing.assert_close(adjacency[joint], expected)
    wrist = {JOINT_NAMES[i] for i in adjacency[20].nonzero().flatten()}
    assert wrist == {"r_wrist", "l_wrist", "r_thumb1", "r_index1", "r_middle1", "r_ring1", "r_pinky1"}


def test_the_graph_convolution_is_local_and_attention_is_global() -> None:
    block = RefineBlock(8, heads=2, feedforward=2).double()
    joints = torch.randn(1, 42, 8, dtype=torch.float64, requires_grad=True)
    local = block.norm(joints + torch.relu(block.adjacency.double() @ block.graph(joints)))
    (gradient,) = torch.autograd.grad(local[0, 4].pow(3).sum(), joints)  # the right index finger's tip
    assert set(gradient[0].any(dim=-1).nonzero().flatten().tolist()) <= {4, 5}
    (gradient,) = torch.autograd.grad(block(joints)[0, 4].pow(3).sum(), joints)
    assert gradient[0].any(dim=-1).all()


def test_layers_stack() -> None:
    joints = torch.randn(2, 42, 8)
    for layers in (1, 3):
        refine = spatial_refinement(8, layers=layers, heads=1, feedforward=2)
        assert len(refine) == layers
        assert refine(joints).shape == joints.shape
