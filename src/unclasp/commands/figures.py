"""`unclasp figures`: the paper's kinds of figures, of a trained model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import tyro

from unclasp.commands.arguments import (
    OptionalBox,
    OptionalData,
    OptionalInt,
    OptionalPath,
    need_sheet,
    parse,
    with_numbers_last,
)
from unclasp.errors import UnclaspError
from unclasp.hands import JOINT_NAMES, JOINTS_PER_HAND, SIDES

if TYPE_CHECKING:
    from unclasp.arrays import Floats, Pixels


@dataclass(frozen=True)
class AttentionArguments:
    """Draw where a joint looks in a picture, as in the paper's Figures 1 and 6.

    Shown are its relations to the pixels in the initialisation and in each iteration: by appearance alone, by position
    alone, and as the network uses them.
    """

    picture: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="PICTURE", help_behavior_hint="")] = (
        None
    )
    """A picture of hands; or give --data."""
    data: OptionalData = None
    """A data set instead, as for evaluate: its annotated crop is shown, and a cross where the joint truly is."""
    index: OptionalInt = None
    """Which of its pictures; the first if not given."""
    out: Path = Path("attention.png")
    """Output file: .png or .jpg."""
    weights: OptionalPath = None
    """A weights file; the shipped model, small, if not given."""
    joint: str = "r_index4"
    """A joint, such as r_wrist or l_thumb4 (the tip)."""
    box: OptionalBox = None
    """Box around the hands in px; searched for if not given."""


def attention(words: list[str]) -> int:
    """Run `unclasp figures attention`."""
    arguments = parse(AttentionArguments, with_numbers_last(words), "figures attention")
    need_sheet(arguments.out)
    if arguments.joint not in JOINT_NAMES:
        raise UnclaspError(f"there is no joint {arguments.joint!r}; the joints are {', '.join(JOINT_NAMES)}")
    if (arguments.picture is None) == (arguments.data is None):
        raise UnclaspError(f"name a picture, or a data set by --data, got {'both' if arguments.picture else 'neither'}")
    if arguments.picture and arguments.index is not None:
        raise UnclaspError(f"--index {arguments.index} is for --data, not for a picture: leave it out")
    from unclasp.checkpoint import load_model
    from unclasp.commands.sheets import write_sheet
    from unclasp.evaluation.attention import draw_attention

    model, _ = load_model(arguments.weights)
    joint = JOINT_NAMES.index(arguments.joint)
    looked_at = _predicted(arguments.picture, arguments) if arguments.picture else _annotated(arguments, joint)
    write_sheet(arguments.out, draw_attention(model, looked_at.image, looked_at.box, joint, truth=looked_at.truth))
    side = SIDES[joint // JOINTS_PER_HAND]
    doubt = "" if side in looked_at.sides else f", although no {side} hand {looked_at.known}"
    print(f"attention of {arguments.joint}{doubt}: {arguments.out}")
    return 0


class _LookedAt(NamedTuple):
    """A picture and the crop in which a joint's attention is shown."""

    image: "Pixels"
    box: "Floats"
    """(4,) px."""
    sides: "tuple[str, ...]"
    known: str
    """How the sides are known."""
    truth: "Floats | None" = None
    """(2,) px, where the joint truly is."""


def _predicted(picture: Path, arguments: AttentionArguments) -> _LookedAt:
    """Return the crop in which the hands of a picture were found."""
    from unclasp.picture import read_picture
    from unclasp.predictor import Predictor

    if arguments.out.resolve() == picture.resolve():
        raise UnclaspError(f"{arguments.out} is the picture itself and is not overwritten; choose another --out")
    image = read_picture(picture)
    pose = Predictor.load(arguments.weights)(image, arguments.box)
    if not pose.sides:
        raise UnclaspError(f"{picture}: no hands were found; give --box")
    return _LookedAt(image, pose.box, pose.sides, "was found")


def _annotated(arguments: AttentionArguments, joint: int) -> _LookedAt:
    """Return the annotated crop of a picture of a data set."""
    from unclasp import geometry
    from unclasp.data import open_dataset
    from unclasp.data.transforms import plain_view

    if arguments.box is not None:
        raise UnclaspError("--box is for a picture; those of a data set have annotated boxes")
    dataset = open_dataset(str(arguments.data), default_split=None)
    index = arguments.index or 0
    if not 0 <= index < len(dataset):
        raise UnclaspError(f"--index must be from 0 to {len(dataset) - 1}, got {index}")
    sample = dataset[index]
    shown = sample.joints_cam[joint][None]
    truth = geometry.project(shown, sample.focal, sample.princpt)[0] if sample.valid[joint] else None
    sides = tuple(side for side, there in zip(SIDES, sample.hand_type, strict=True) if there)
    return _LookedAt(sample.image, plain_view(sample.box).box, sides, "is annotated", truth)


@dataclass(frozen=True)
class CurvesArguments:
    """Draw the PCK curves of reports of `unclasp evaluate --out`, as in the paper's Figure 4, with their AUC."""

    reports: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="REPORT ...", help_behavior_hint="")
    ]
    """Reports of the same protocol. The legend has their files' names, with those of folders where needed."""
    out: Path = Path("curves.png")
    """Output file: .png or .jpg."""


def curves(words: list[str]) -> int:
    """Run `unclasp figures curves`."""
    arguments = parse(CurvesArguments, words, "figures curves")
    need_sheet(arguments.out)
    from unclasp.commands.sheets import write_sheet
    from unclasp.evaluation.curves import draw_curves
    from unclasp.evaluation.report import Report
    from unclasp.sources import output_stems

    names = output_stems(arguments.reports)
    reports = [Report.load(path) for path in arguments.reports]
    write_sheet(arguments.out, draw_curves(list(zip(names, reports, strict=True))))
    counts = [report.samples["all"] for report in reports]
    listed = ", ".join(f"{count} {name}" for count, name in zip(counts, names, strict=True))
    doubt = f", although of different numbers of pictures ({listed})" if len(set(counts)) > 1 else ""
    print(f"curves{doubt}: {arguments.out}")
    return 0
