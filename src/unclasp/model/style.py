"""Style mixing: during training, crops take on feature statistics of other crops in the batch (not in the paper).

Means and standard deviations of shallow feature maps carry the style of a picture, such as lighting, colours and
sharpness. A model that is trained on scenes in the style of others relies less on it (MixStyle, Zhou et al. 2021, arXiv
2104.02008).
"""

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from unclasp.errors import UnclaspError
from unclasp.model.backbones import Backbone

_BETA: Final = 0.2
"""Both parameters of the beta distribution of the shares: mostly one style or the other, rarely an even mix."""


class StyleMixing:
    """Hooks on the shallow layers of a backbone that mix styles in training mode."""

    def __init__(self, backbone: Backbone, probability: float) -> None:
        """Attach the hooks.

        Args:
            backbone: The backbone.
            probability: Probability of mixing at each layer, for a batch; at 0 no hooks are attached.

        Raises:
            UnclaspError: The backbone does not specify which of its layers are shallow.
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
        """Reseed the random generator, so that a resumed run continues as an uninterrupted one would."""
        self.rng = np.random.default_rng(seed)

    def _mix(self, layer: nn.Module, _inputs: Any, features: Tensor) -> Tensor | None:
        if not layer.training or self.rng.random() >= self.probability:
            return None
        count = len(features)
        partner, share = self.rng.permutation(count), self.rng.beta(_BETA, _BETA, (count, 1, 1, 1))
        return mixed(features, torch.from_numpy(partner), torch.from_numpy(share))


def mixed(features: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """Interpolate the channel means and deviations of feature maps with those of partners in the batch.

    No gradient flows through the statistics.

    Args:
        features: (B, C, H, W).
        partner: (B,) index of each sample's partner.
        share: (B, 1, 1, 1) weight of each sample's own statistics.

    Returns:
        (B, C, H, W).
    """
    partner, share = partner.to(features.device), share.to(features.device, torch.float32)
    with torch.no_grad():
        deviation, mean = torch.std_mean(features.float(), dim=(2, 3), keepdim=True)
        deviation = deviation + 1e-3
        gain = share + (1 - share) * deviation[partner] / deviation
        shift = share * mean + (1 - share) * mean[partner] - gain * mean
    return (features * gain + shift).to(features.dtype)
