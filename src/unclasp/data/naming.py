"""Parses the options in the name of a data set, such as `hic:ROOT,images=all,box=mesh`."""

from collections.abc import Collection
from pathlib import Path

from unclasp.errors import DataError


def split_options(name: str, allowed: Collection[str]) -> tuple[str, dict[str, str]]:
    """Split `FOLDER,key=value,key` into the folder, which may contain commas, and the options; a bare key is "true".

    The folder may be followed by `:SPLIT`, which stays with it.

    Raises:
        DataError: An option is unknown or given twice.

    Examples:
        >>> split_options("/data/a,b:test,images=all,filtered", ("images", "filtered"))
        ('/data/a,b:test', {'filtered': 'true', 'images': 'all'})
    """
    options: dict[str, str] = {}
    while True:
        rest, comma, option = name.rpartition(",")
        key, equals, value = option.partition("=")
        if not comma or key not in allowed:
            break
        if key in options:
            raise DataError(f"the option {key} of the data set comes twice")
        options[key] = value if equals else "true"
        name = rest
    folder = name if ":" not in option else name.rpartition(":")[0]
    if comma and equals and not Path(folder).is_dir():
        raise DataError(f"the option {key} of the data set is unknown; there are {', '.join(allowed)}")
    return name, options
