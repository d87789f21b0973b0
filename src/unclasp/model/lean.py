"""The decoder layers of the optimised network (`deploy`): single-head, on bare features, with precomputed constants.

Letters: B batch, N joints (42), L pixels of a level, h and w its size, C channels of the pyramid, A appearance and S
position channels.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from unclasp.hands import NUM_JOINTS, NUM_PARTS
from unclasp.model.decoder import Initialisation
from unclasp.model.folding import bias_of, linear
from unclasp.model.refine import RefineBlock
from unclasp.model.relation import KINDS, Features, Kind, RelationLayer, Similarity, Update, summed

_TAPS = 9


class Level(NamedTuple):
    """What joints read of the picture on one level; its positions are constants of the layers that read it."""

    features: Tensor
    """(B, C, h, w) pyramid features, before smoothing if the layer that reads them accounts for it."""
    parts: Tensor
    """(B, 33, L) probabilities."""

    @property
    def appearance(self) -> Tensor:
        """(B, L, A), like `Features.appearance`."""
        return torch.cat((pixels(self.features), self.parts), dim=1).transpose(-1, -2)


def pixels(maps: Tensor) -> Tensor:
    """Flatten maps (B, channels, h, w) to (B, channels, L), with constant shapes: only B varies in a traced graph."""
    channels, height, width = map(int, maps.shape[1:])
    return maps.reshape(-1, channels, height * width)


def _query(similarity: Similarity, scale: float) -> nn.Linear:
    """Merge query and key into one map, whose product with bare features gives the logits."""
    key = scale * similarity.key.weight.double().T
    return linear(key @ similarity.query.weight.double(), key @ bias_of(similarity.query))


def _value(update: Update) -> nn.Linear:
    """Merge value and output into one map of bare gathered features."""
    return linear(update.output.weight.double() @ update.value.weight.double(), bias_of(update.output))


class Tail(nn.Module):
    """The part of a transformer layer after attention: residual, norm, feed-forward network, norm."""

    def __init__(self, update: Update) -> None:
        super().__init__()
        self.norm, self.feedforward, self.last_norm = update.norm, update.feedforward, update.feedforward_norm

    def forward(self, joints: Tensor, gathered: Tensor) -> Tensor:
        """Return joints (B, N, channels) updated with the gathered features."""
        joints = self.norm(joints + gathered)
        updated: Tensor = self.last_norm(joints + self.feedforward(joints))
        return updated


class AmongJoints(nn.Module):
    """J-J: joints relate to joints."""

    def __init__(self, layer: RelationLayer) -> None:
        super().__init__()
        similarities = {kind: cast(Similarity, layer.similarity[kind]) for kind in layer.kinds_related}
        updates = {kind: cast(Update, layer.update[kind]) for kind in layer.kinds_updated}
        self.query = nn.ModuleDict({kind: _query(similarity, layer.scale) for kind, similarity in similarities.items()})
        self.value = nn.ModuleDict({kind: _value(update) for kind, update in updates.items()})
        self.tail = nn.ModuleDict({kind: Tail(update) for kind, update in updates.items()})
        self.related, self.updated = layer.kinds_related, layer.kinds_updated

    def forward(self, joints: Features) -> Features:
        """Return the updated joint features."""
        terms = [self.query[kind](joints.of(kind)) @ joints.of(kind).transpose(-1, -2) for kind in self.related]
        relation = summed(terms).softmax(dim=-1)
        return joints._replace(**{kind: self._update(kind, joints.of(kind), relation) for kind in self.updated})

    def _update(self, kind: Kind, joints: Tensor, relation: Tensor) -> Tensor:
        updated: Tensor = self.tail[kind](joints, self.value[kind](relation @ joints))
        return updated


class Refine(nn.Module):
    """The optimised `RefineBlock` of SPR."""

    adjacency: Tensor

    def __init__(self, block: RefineBlock) -> None:
        super().__init__()
        self.register_buffer("adjacency", block.adjacency)
        self.graph, self.norm = block.graph, block.norm
        self.query, self.value = _query(block.similarity, block.scale), _value(block.update)
        self.tail = Tail(block.update)

    def forward(self, joints: Tensor) -> Tensor:
        """Map joint features (B, N, channels) to refined ones of the same shape."""
        joints = self.norm(joints + torch.relu(self.adjacency @ self.graph(joints)))
        relation = (self.query(joints) @ joints.transpose(-1, -2)).softmax(dim=-1)
        refined: Tensor = self.tail(joints, self.value(relation @ joints))
        return refined


class ReadSmoothed(nn.Module):
    """Appearance logits of a smoothed level."""

    def __init__(self, similarity: Similarity, scale: float) -> None:
        super().__init__()
        self.query = _query(similarity, scale)

    def forward(self, joints: Tensor, level: Level) -> Tensor:
        """Return logits (B, N, L) of joints (B, N, A)."""
        return _appearance_logits(self.query(joints), level)


def _appearance_logits(queries: Tensor, level: Level) -> Tensor:
    of_features, of_parts = queries[..., :-NUM_PARTS], queries[..., -NUM_PARTS:]
    return of_features @ pixels(level.features) + of_parts @ level.parts


class ReadRaw(nn.Module):
    """Appearance logits of a level before smoothing: a 3x3 kernel is computed for each joint."""

    def __init__(self, similarity: Similarity, scale: float, smoothing: nn.Conv2d) -> None:
        super().__init__()
        query = _query(similarity, scale)
        weight, bias = query.weight.double(), bias_of(query)
        self.channels = channels = smoothing.in_channels
        # `fold` scatters where a convolution gathers, so the taps are flipped.
        taps = smoothing.weight.double().flip(2, 3).permute(2, 3, 1, 0).flatten(0, 2)  # (9 C, C)
        smooth = torch.cat((taps, bias_of(smoothing)[None]))
        self.kernel = linear(
            torch.cat((smooth @ weight[:channels], weight[channels:])),
            torch.cat((smooth @ bias[:channels], bias[channels:])),
        )

    def forward(self, joints: Tensor, level: Level) -> Tensor:
        """Return logits (B, N, L) of joints (B, N, A)."""
        taps, constant, of_parts = self.kernel(joints).split([_TAPS * self.channels, 1, NUM_PARTS], dim=-1)
        products = taps.reshape(-1, NUM_JOINTS * _TAPS, self.channels) @ pixels(level.features)
        size = level.features.shape[2:]
        correlated = functional.fold(products, (int(size[0]), int(size[1])), 3, padding=1)
        logits: Tensor = pixels(correlated) + constant + of_parts @ level.parts
        return logits


class JointImage(nn.Module):
    """J-I with one level, with everything that depends on its positions precomputed."""

    keys: Tensor
    key_bias: Tensor
    values: Tensor

    def __init__(self, layer: RelationLayer, positions: Tensor, smoothing: nn.Conv2d | None) -> None:
        """Precompute the constants of a layer.

        Args:
            layer: The J-I layer, with a single head.
            positions: Position features (L, S) of the level, in double precision.
            smoothing: The smoothing convolution, if the level is passed unsmoothed, else None.
        """
        super().__init__()
        self.related, self.updated = layer.kinds_related, layer.kinds_updated
        self.tail = nn.ModuleDict({kind: Tail(cast(Update, layer.update[kind])) for kind in self.updated})
        if "appearance" in self.related:
            similarity = cast(Similarity, layer.similarity["appearance"])
            self.read: nn.Module = (
                ReadRaw(similarity, layer.scale, smoothing) if smoothing else ReadSmoothed(similarity, layer.scale)
            )
        if "position" in self.related:
            query = _query(cast(Similarity, layer.similarity["position"]), layer.scale)
            self.register_buffer("keys", query.weight.T @ positions.T)
            self.register_buffer("key_bias", bias_of(query) @ positions.T)
        if "appearance" in self.updated:
            self.value = _value(cast(Update, layer.update["appearance"]))
        if "position" in self.updated:
            value = _value(cast(Update, layer.update["position"]))
            # The rows of a relation sum to 1, so the bias can be added to every value.
            self.register_buffer("values", positions @ value.weight.T + bias_of(value))

    def forward(self, joints: Features, level: Level) -> tuple[Features, Tensor]:
        """Return the updated joint features and the logits (B, N, L)."""
        terms = [self.read(joints.appearance, level)] if "appearance" in self.related else []
        if "position" in self.related:
            terms.append(joints.position @ self.keys + self.key_bias)
        logits = summed(terms)
        relation = logits.softmax(dim=-1)
        updated: dict[str, Tensor] = {}
        if "appearance" in self.updated:
            updated["appearance"] = self.tail["appearance"](joints.appearance, self.value(_gather(relation, level)))
        if "position" in self.updated:
            updated["position"] = self.tail["position"](joints.position, relation @ self.values)
        return joints._replace(**updated), logits


def _gather(relation: Tensor, level: Level) -> Tensor:
    return torch.cat(
        (relation @ pixels(level.features).transpose(-1, -2), relation @ level.parts.transpose(-1, -2)), dim=-1
    )


class Start(nn.Module):
    """The optimised `Initialisation`, with precomputed position logits."""

    positions: Tensor
    logits: Tensor

    def __init__(self, initialise: Initialisation, positions: Tensor) -> None:
        super().__init__()
        self.appearance, self.position = initialise.appearance, initialise.position
        self.kinds, self.residual = KINDS[initialise.by], initialise.residual
        self.scale = (self.appearance.shape[1] + self.position.shape[1]) ** -0.5
        self.register_buffer("positions", positions[None])
        by_position = self.scale * self.position.double() @ positions.T[: self.position.shape[1]]
        self.register_buffer("logits", by_position[None])

    def forward(self, level: Level) -> tuple[Features, Tensor]:
        """Return the initial joint features and the logits (B, N, L)."""
        logits = self.logits
        if "appearance" in self.kinds:
            logits = logits + _appearance_logits(self.scale * self.appearance, level)
        else:
            logits = logits.expand(level.parts.shape[0], -1, -1)
        relation = logits.softmax(dim=-1)
        joints = Features(_gather(relation, level), relation @ self.positions)
        if self.residual:
            queries = Features(self.appearance, self.position)
            joints = joints._replace(**{kind: joints.of(kind) + queries.of(kind) for kind in self.kinds})
        return joints, logits
