"""`unclasp bench`."""

from dataclasses import dataclass

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
