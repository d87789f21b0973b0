"""`unclasp bench`."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from unclasp.commands.arguments import need_synth, parse


@dataclass(frozen=True)
class BenchSynthArguments:
    """Render on one core and tell where the time goes."""

    count: int = 100
    """Pictures to render."""
    size: int = 256
    """Side in px."""
    supersample: int = 2
    """Samples per pixel and axis."""


def synth(words: list[str]) -> int:
    """Run `unclasp bench synth`."""
    arguments = parse(BenchSynthArguments, words, "bench synth")
    need_synth()
    from unclasp.bench import synth_speed

    print(synth_speed(arguments.count, size=arguments.size, supersample=arguments.supersample))
    return 0


@dataclass(frozen=True)
class BenchIndexArguments:
    """Make up annotations, index them, and tell what that costs in time and memory.

    At the true size the annotations take 1 GB of disk, and they are removed at the end.
    """

    count: int = 1_361_062
    """Images; InterHand2.6M's training split has as many as the default."""
    workers: int = 8
    """Processes that read the index at the same time."""
    folder: Path | None = None
    """Where to write them; the system's folder for temporary files if not given."""
    json: bool = False
    """Print the figures as JSON."""


def index(words: list[str]) -> int:
    """Run `unclasp bench index`."""
    arguments = parse(BenchIndexArguments, words, "bench index")
    import json

    from unclasp.bench_index import index_cost, told, write_made_up
    from unclasp.errors import UnclaspError

    if arguments.count < 1 or arguments.workers < 1:
        raise UnclaspError("--count and --workers must be at least 1")
    with TemporaryDirectory(dir=arguments.folder) as folder:
        write_made_up(Path(folder), arguments.count)
        cost = index_cost(Path(folder), workers=arguments.workers)
    print(json.dumps(cost, indent=1) if arguments.json else told(cost))
    return 0
