"""Gradients of our depthwise convolution, compared with PyTorch's."""

import pytest
import torch
from torch.nn import functional

from unclasp.model.depthwise import depthwise_conv2d

CASES = [(3, 1, 12), (3, 2, 13), (5, 1, 8), (5, 2, 11), (5, 1, 16), (5, 2, 25)]
"""Kernel, stride, side: 5x5 kernels with sizes below and above that at which the gradient's algorithm changes."""


@pytest.mark.parametrize(("kernel", "stride", "side"), CASES)
def test_gradients_under_autocast_are_those_of_float64(kernel: int, stride: int, side: int) -> None:
    torch.manual_seed(0)
    # Small integers and powers of two are exact in bfloat16, so only the order of summation differs.
    x = torch.randint(-4, 5, (3, 6, side, side)).float().requires_grad_()
    weight = (torch.randint(-2, 3, (6, 1, kernel, kernel)) / 4).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = depthwise_conv2d(x, weight, stride)
    exact_x, exact_weight = x.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    exact = functional.conv2d(exact_x, exact_weight, None, stride, 0, 1, 6)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.double(), exact, rtol=1e-2, atol=1e-2)
    gradient = torch.randint(-2, 3, y.shape).double()
    y.backward(gradient.to(y.dtype))
    exact.backward(gradient)
    torch.testing.assert_close(x.grad.double(), exact_x.grad, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(weight.grad.double(), exact_weight.grad, rtol=1e-2, atol=1e-2)
    assert x.grad.dtype == weight.grad.dtype == torch.float32


def test_without_autocast_it_is_the_plain_convolution() -> None:
    x, weight = torch.randn(2, 4, 9, 9), torch.randn(4, 1, 3, 3)
    assert torch.equal(depthwise_conv2d(x, weight, 2), functional.conv2d(x, weight, None, 2, 0, 1, 4))


def test_only_what_needs_a_gradient_gets_one() -> None:
    x, weight = torch.randn(2, 4, 9, 9), torch.randn(4, 1, 5, 5, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        depthwise_conv2d(x, weight, 1).sum().backward()
    assert weight.grad is not None and x.grad is None


def test_the_weights_gradient_is_laid_out_as_the_weight() -> None:
    """Otherwise distributed training would warn and copy it."""
    weight = torch.randn(4, 1, 5, 5).to(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        depthwise_conv2d(torch.randn(2, 4, 9, 9), weight, 1).sum().backward()
    assert weight.grad.stride() == weight.stride()
