"""Reads the relations between joints and pixels out of a network: what Figures 1 and 6 show.

In the decoupled decoder the logits of two kinds of features are added before one softmax (eq. 4). The map of a single
kind is the softmax of its own term.
"""

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor

from unclasp.batch import Prediction
from unclasp.errors import UnclaspError
from unclasp.model.decoder import DecoupledDecoder, FusedDecoder, Initialisation, Iteration
from unclasp.model.dfl import DFL
from unclasp.model.relation import Features, Kind, RelationLayer, relation_terms, summed


class AttentionMaps(NamedTuple):
    """The relation between the joints and the pixels of one level, in the initialisation or in one iteration."""

    stage: str
    """`initialisation`, or `iteration 1` and so on."""
    relation: Tensor
    """(42, M, M) the relation that is used, averaged over heads; each joint's map adds up to 1."""
    of_kinds: dict[Kind, Tensor]
    """(42, M, M) for each kind that takes part, the relation by this kind alone. Empty in the baseline without
    decoupling, which knows only the sum of both kinds."""


@torch.no_grad()
def attention_maps(model: DFL, image: Tensor) -> tuple[list[AttentionMaps], Prediction]:
    """Return the maps of the initialisation and of each iteration's J-I relation, coarsest level first, and the rest.

    Args:
        model: A network with a decoder that relates joints to pixels.
        image: (3, S, S) RGB crop, as for `DFL.forward`.

    Raises:
        UnclaspError: The network relates no joints to pixels (the first row of Table 1).
    """
    is_fused = isinstance(model.decoder, FusedDecoder)
    decoder = model.decoder.decoder if is_fused else model.decoder
    if not isinstance(decoder, DecoupledDecoder):
        raise UnclaspError("this network relates no joints to pixels, so it has no attention maps")
    found: list[AttentionMaps] = []

    def add(terms: dict[Kind, Tensor]) -> None:
        """Add the maps of logits (1, H, 42, L)."""
        stage = f"iteration {len(found)}" if found else "initialisation"
        of_kinds = {} if is_fused else {kind: _as_map(term) for kind, term in terms.items()}
        found.append(AttentionMaps(stage, _as_map(summed(terms.values())), of_kinds))

    def read_initialisation(start: Initialisation, inputs: tuple[Features], _: object) -> None:
        terms = relation_terms(start.queries, inputs[0], start.by)
        add({kind: term.expand(1, -1, -1).unsqueeze(1) for kind, term in terms.items()})

    def read_iteration(layer: RelationLayer, inputs: tuple[Features, Features], _: object) -> None:
        add({kind: layer.scale * term for kind, term in layer.terms(*inputs).items()})

    hooks = [decoder.initialise.register_forward_hook(read_initialisation)]
    layers = [cast("Iteration", iteration).joint_image for iteration in decoder.iterations]
    hooks += [layer.register_forward_hook(read_iteration) for layer in layers]
    try:
        prediction: Prediction = model(image.unsqueeze(0))
    finally:
        for hook in hooks:
            hook.remove()
    return found, prediction


def _as_map(logits: Tensor) -> Tensor:
    relation = logits[0].softmax(dim=-1).mean(dim=0)  # (42, L)
    side = math.isqrt(relation.shape[-1])
    return relation.view(-1, side, side)
