"""The two kinds of features, and the relations through which alone they interact (section 3.3).

A relation is a similarity matrix between joints and tokens (pixels or joints). It is computed from features of one
kind, or of both with their logits added, and then gathers *each* kind separately. Every learned map below works on a
single kind, so that nothing else mixes them.

Letters: B batch, N joints (42), L tokens related to (pixels of a level, or the joints), H heads, A appearance channels,
S position channels, C channels of one kind.
"""

from collections.abc import Collection, Iterable
from functools import reduce
from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from unclasp.config import Relation

Kind = Literal["appearance", "position"]

KINDS: Final[dict[Relation, tuple[Kind, ...]]] = {
    Relation.APPEARANCE: ("appearance",),
    Relation.POSITION: ("position",),
    Relation.BOTH: ("appearance", "position"),
}
"""The kinds of features that each choice in the config stands for."""


class Features(NamedTuple):
    """Features of the joints or of the pixels of one level. A kind that is never read may have no channels."""

    appearance: Tensor
    """(B, L, A) features computed from RGB values."""
    position: Tensor
    """(B or 1, L, S) features computed from coordinates."""

    def of(self, kind: Kind) -> Tensor:
        """Return the features of one kind."""
        return self.appearance if kind == "appearance" else self.position


class Widths(NamedTuple):
    """Number of channels of each kind of features."""

    appearance: int
    position: int

    def of(self, kind: Kind) -> int:
        """Return the number of channels of one kind."""
        return self.appearance if kind == "appearance" else self.position

    def total(self, kinds: Collection[Kind]) -> int:
        """Return the total number of channels of several kinds."""
        return sum(self.of(kind) for kind in kinds)


def relate(queries: Features, keys: Features, by: Relation) -> Tensor:
    """Return the logits of eq. 1, without learned maps, scaled by the number of channels of the kinds used.

    Args:
        queries: Features of N tokens.
        keys: Features of L tokens.
        by: The kinds of features to use.

    Returns:
        (B, N, L) logits; their softmax over the last axis is the relation.
    """
    return summed(relation_terms(queries, keys, by).values())


def relation_terms(queries: Features, keys: Features, by: Relation) -> dict[Kind, Tensor]:
    """Return the logits (B, N, L) that each kind adds to those of `relate`."""
    kinds = KINDS[by]
    scale = sum(keys.of(kind).shape[-1] for kind in kinds) ** -0.5
    return {kind: scale * queries.of(kind) @ keys.of(kind).transpose(-1, -2) for kind in kinds}


def summed(terms: Iterable[Tensor]) -> Tensor:
    """Return the sum of the logits of the kinds (eq. 4)."""
    return reduce(torch.add, terms)


def aggregate(relation: Tensor, values: Features) -> Features:
    """Gather both kinds of features by the same relation (eq. 2).

    Args:
        relation: (B, N, L), rows sum to 1.
        values: L tokens.
    """
    return Features(relation @ values.appearance, relation @ values.position)


class Similarity(nn.Module):
    """Learned dot products between queries and keys of one kind, for each head: one term of eq. 3's logits."""

    def __init__(self, channels: int, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels, bias=False)
        """No bias: it would add a constant to each row, which the softmax cancels."""
        for layer in (self.query, self.key):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return the unscaled logits (B, H, N, L) of queries (B, N, C) and keys (B or 1, L, C)."""
        query: Tensor = self.query(queries)
        per_head = query.view(*query.shape[:2], self.heads, -1).transpose(1, 2)  # (B, H, N, C/H)
        # q (W k) = (q W) k: mapping the few joints instead of the many pixels costs a fraction for the same result.
        mapped = per_head @ _by_head(self.key, self.heads)  # (B, H, N, C)
        return mapped @ keys.unsqueeze(1).transpose(-1, -2)


class Update(nn.Module):
    """Gathers values of one kind into the joints by a relation, followed by the rest of a transformer layer."""

    def __init__(self, channels: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.value = nn.Linear(channels, channels, bias=False)
        """No bias: the rows of a relation sum to 1, so it would only add to the bias of `output`."""
        self.output = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        widen, narrow = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.feedforward = nn.Sequential(widen, nn.ReLU(), narrow)
        self.feedforward_norm = nn.LayerNorm(channels)
        for layer in (self.value, self.output, widen, narrow):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, joints: Tensor, relation: Tensor, values: Tensor) -> Tensor:
        """Return joints (B, N, C) updated from values (B or 1, L, C) by a relation (B, H, N, L)."""
        gathered = relation @ values.unsqueeze(1)  # (B, H, N, C); R (V W) = (R V) W, see Similarity
        mapped = gathered @ _by_head(self.value, self.heads).transpose(-1, -2)  # (B, H, N, C/H)
        joints = self.norm(joints + self.output(mapped.transpose(1, 2).flatten(2)))
        updated: Tensor = self.feedforward_norm(joints + self.feedforward(joints))
        return updated


def _by_head(layer: nn.Linear, heads: int) -> Tensor:
    """Return the layer's weight as (H, outputs / H, inputs)."""
    return layer.weight.view(heads, -1, layer.in_features)


class RelationLayer(nn.Module):
    """Relates joints to tokens by some kinds of features, and updates some kinds using this one relation (eq. 3 and 4).

    Equivalent to attention on concatenated features, which are split afterwards, with every learned map block-diagonal
    in the two kinds; a full map would mix them.
    """

    def __init__(self, widths: Widths, by: Relation, *, updates: Collection[Kind], heads: int, hidden: Widths) -> None:
        """Build the layer.

        Args:
            widths: Channels of joints and tokens.
            by: The kinds that the relation is computed from.
            updates: The kinds that are read downstream; the others are passed through unchanged.
            heads: Number of relation matrices, among which the channels of each kind are split evenly.
            hidden: Channels of the hidden layer in the feed-forward networks.
        """
        super().__init__()
        self.scale = (widths.total(KINDS[by]) / heads) ** -0.5
        self.similarity = nn.ModuleDict({kind: Similarity(widths.of(kind), heads) for kind in KINDS[by]})
        self.update = nn.ModuleDict({kind: Update(widths.of(kind), hidden.of(kind), heads) for kind in sorted(updates)})
        self.kinds_related: tuple[Kind, ...] = KINDS[by]
        self.kinds_updated: tuple[Kind, ...] = tuple(sorted(updates))

    def terms(self, joints: Features, tokens: Features) -> dict[Kind, Tensor]:
        """Return the unscaled logits (B, H, N, L) of each kind, the terms of eq. 4."""
        return {kind: self.similarity[kind](joints.of(kind), tokens.of(kind)) for kind in self.kinds_related}

    def logits(self, joints: Features, tokens: Features) -> Tensor:
        """Return the relation's logits (B, H, N, L), summed over the kinds, so that a single softmax covers both."""
        logits: Tensor = self.scale * summed(self.terms(joints, tokens).values())
        return logits

    def forward(self, joints: Features, tokens: Features) -> tuple[Features, Tensor]:
        """Return the updated joint features and the relation's logits (B, H, N, L)."""
        logits = self.logits(joints, tokens)
        relation = logits.softmax(dim=-1)
        updated = {kind: self.update[kind](joints.of(kind), relation, tokens.of(kind)) for kind in self.kinds_updated}
        return joints._replace(**updated), logits


class Readout(nn.Linear):
    """A small linear layer that stays in float32 under autocast; bfloat16 would round coordinates to half pixels."""

    def __init__(self, channels: int, outputs: int, *, bias: float) -> None:
        super().__init__(channels, outputs)
        nn.init.normal_(self.weight, std=0.01)
        nn.init.constant_(self.bias, bias)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (..., channels) to (..., outputs)."""
        features = features.to(torch.promote_types(features.dtype, self.weight.dtype))
        return (features.unsqueeze(-2) * self.weight).sum(dim=-1) + self.bias
