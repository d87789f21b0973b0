"""Style mixing: in training, crops borrow the feature statistics of other crops of the batch.

Not in the paper. Means and deviations of shallow feature maps carry the look of a picture: light, colours, sharpness. A
model that has seen every scene in the look of others relies less on it (MixStyle, Zhou et al. 2021, arXiv 2104.02008).
"""

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from unclasp.errors import UnclaspError
from unclasp.model.backbone import Backbone

_BETA: Final = 0.2
"""Of the shares: mostly one style or the other, seldom halves."""


class StyleMixing:
    """Hooks on a backbone's shallow layers that mix styles while it trains."""

    def __init__(self, backbone: Backbone, probability: float) -> None:
        """Attach the hooks; none at probability 0.

        Raises:
            UnclaspError: The backbone does not say which of its layers are shallow.
        """
        self.probability = probability
        self.rng = np.random.default_rng(0)
        if not probability:
            return
        layers = backbone.shallow()
        if not layers:
            raise UnclaspError(
                f"augment.style needs a backbone that tells which of its layers are shallow: {type(backbone).__name__} "
                "does not; leave it at 0, or choose a backbone without timm:"
            )
        for layer in layers:
            layer.register_forward_hook(self._mix)

    def start(self, *seed: int) -> None:
        """Make what is drawn from here on a function of the seed, so that a resumed run goes on as it would have."""
        self.rng = np.random.default_rng(seed)

    def _mix(self, layer: nn.Module, _inputs: Any, features: Tensor) -> Tensor | None:
        if not layer.training or self.rng.random() >= self.probability:
            return None
        count = len(features)
        partner, share = self.rng.permutation(count), self.rng.beta(_BETA, _BETA, (count, 1, 1, 1))
        return mixed(features, torch.from_numpy(partner), torch.from_numpy(share))


def mixed(features: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """Return (B, C, H, W) maps with means and deviations between their own and their partner's.

    Args:
        features: (B, C, H, W).
        partner: (B,) whose statistics each borrows.
        share: (B, 1, 1, 1) how much of its own each keeps; no gradient flows through the statistics.
    """
    partner, share = partner.to(features.device), share.to(features.device, torch.float32)
    with torch.no_grad():
        deviation, mean = torch.std_mean(features.float(), dim=(2, 3), keepdim=True)
        deviation = deviation + 1e-3
        gain = share + (1 - share) * deviation[partner] / deviation
        shift = share * mean + (1 - share) * mean[partner] - gain * mean
    return (features * gain + shift).to(features.dtype)
