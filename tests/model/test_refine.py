"""SPR: the graph of the skeleton, and information flow between all joints."""

import pytest
import torch
from torch import Tensor

from unclasp.hands import JOINT_NAMES, PARENTS
from unclasp.model.refine import RefineBlock, skeleton_adjacency, spatial_refinement


def around(joint: int) -> list[int]:
    """Return a joint and those that a bone joins to it; the wrists are joined, too."""
    children = {other for other in range(42) if PARENTS[other] == joint}
    parent = PARENTS[joint] if PARENTS[joint] >= 0 else 61 - joint  # the other wrist
    return sorted({joint, parent} | children)


def test_rows_average_a_joint_with_its_neighbours() -> None:
    adjacency = skeleton_adjacency()
    for joint in range(42):
        expected = torch.zeros(42)
        expected[around(joint)] = 1 / len(around(joint))
        torch.testing.assert_close(adjacency[joint], expected)
    wrist = {JOINT_NAMES[i] for i in adjacency[20].nonzero().flatten()}
    assert wrist == {"r_wrist", "l_wrist", "r_thumb1", "r_index1", "r_middle1", "r_ring1", "r_pinky1"}


def slow_block(block: RefineBlock, joints: Tensor, heads: int) -> Tensor:
    """Refine joints (42, C): one by one along the skeleton, then by attention to all of them, head by head."""
    mapped = [block.graph.weight @ joint + block.graph.bias for joint in joints]
    convolved = [torch.relu(sum(mapped[other] for other in around(i)) / len(around(i))) for i in range(42)]
    local = [block.norm(joint + change) for joint, change in zip(joints, convolved, strict=True)]
    similarity, update = block.similarity, block.update
    keys = [similarity.key.weight @ joint for joint in local]
    values = [update.value.weight @ joint for joint in local]
    refined = []
    for joint in local:
        query = similarity.query.weight @ joint + similarity.query.bias
        gathered = []
        for head in torch.arange(len(joint)).chunk(heads):
            similarities = torch.stack([query[head] @ key[head] for key in keys]) / len(head) ** 0.5
            relation = similarities.exp() / similarities.exp().sum()
            gathered.append(sum(share * value[head] for share, value in zip(relation, values, strict=True)))
        attended = update.norm(joint + update.output(torch.cat(gathered)))
        refined.append(update.feedforward_norm(attended + update.feedforward(attended)))
    return torch.stack(refined)


@pytest.mark.parametrize("heads", [1, 2])
def test_a_block_is_a_graph_convolution_and_attention(heads: int) -> None:
    block = RefineBlock(8, heads=heads, feedforward=2).double()
    joints = torch.randn(2, 42, 8, dtype=torch.float64)
    expected = torch.stack([slow_block(block, each, heads) for each in joints])
    # The adjacency is stored in single precision.
    torch.testing.assert_close(block(joints), expected, rtol=0, atol=1e-6)


def joints_read(block: RefineBlock, joint: int) -> list[int]:
    """Return the joints that a refined one depends on."""
    joints = torch.randn(1, 42, 8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(block(joints)[0, joint].pow(3).sum(), joints)
    return gradient[0].any(dim=-1).nonzero().flatten().tolist()


def test_the_graph_convolution_is_local_and_attention_is_global() -> None:
    block = RefineBlock(8, heads=2, feedforward=2).double()
    assert joints_read(block, 4) == list(range(42))  # the right index finger's tip
    with torch.no_grad():
        block.update.output.weight.zero_()  # nothing is gathered by attention
    assert [joints_read(block, joint) for joint in range(42)] == [around(joint) for joint in range(42)]


def test_layers_stack() -> None:
    joints = torch.randn(2, 42, 8)
    for layers in (1, 3):
        refine = spatial_refinement(8, layers=layers, heads=1, feedforward=2)
        assert len(refine) == layers
        assert refine(joints).shape == joints.shape
