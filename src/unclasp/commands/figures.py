"""`unclasp figures`: the paper's kinds of figures, of a trained model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import OptionalBox, OptionalPath, need_sheet, parse, with_numbers_last
from unclasp.errors import UnclaspError
from unclasp.hands import JOINT_NAMES, JOINTS_PER_HAND, SIDES


@dataclass(frozen=True)
class AttentionArguments:
    """Draw where a joint looks in a picture, as in the paper's Figures 1 and 6.

    Shown are its relations to the pixels in the initialisation and in each iteration: by appearance alone, by position
    alone, and as the network uses them.
    """

    picture: Annotated[Path, tyro.conf.Positional]
    """A picture of hands."""
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
    if arguments.out.resolve() == arguments.picture.resolve():
        raise UnclaspError(f"{arguments.out} is the picture itself and is not overwritten; choose another --out")
    from unclasp.checkpoint import load_model
    from unclasp.commands.sheets import write_sheet
    from unclasp.evaluation.attention import draw_attention
    from unclasp.picture import read_picture
    from unclasp.predictor import Predictor

    model, _ = load_model(arguments.weights)
    image, joint = read_picture(arguments.picture), JOINT_NAMES.index(arguments.joint)
    pose = Predictor.load(arguments.weights)(image, arguments.box)
    if not pose.sides:
        raise UnclaspError(f"{arguments.picture}: no hands were found; give --box")
    write_sheet(arguments.out, draw_attention(model, image, pose.box, joint))
    side = SIDES[joint // JOINTS_PER_HAND]
    doubt = "" if side in pose.sides else f", although no {side} hand was found"
    print(f"attention of {arguments.joint}{doubt}: {arguments.out}")
    return 0


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
    write_sheet(arguments.out, draw_curves(list(zip(names, map(Report.load, arguments.reports), strict=True))))
    print(f"curves: {arguments.out}")
    return 0
