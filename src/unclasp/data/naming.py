"""Parses the options in the name of a data set, such as `hic:ROOT,images=all,box=mesh`."""

import re
from collections.abc import Collection

from unclasp.errors import DataError


def split_options(name: str, allowed: Collection[str]) -> tuple[str, dict[str, str]]:
    """Split `FOLDER,key=value,key=value` into the folder, which may contain commas, and the options.

    Raises:
        DataError: An option is unknown or given twice.

    Examples:
        >>> split_options("/data/a,b,images=all", ("images", "box"))
        ('/data/a,b', {'images': 'all'})
    """
    options: dict[str, str] = {}
    while (match := re.fullmatch(r"(.+),([a-z_]+)=([^,]*)", name, re.DOTALL)) is not None:
        name, key, value = match[1], match[2], match[3]
        if key not in allowed or key in options:
            what = "comes twice" if key in options else f"is unknown; there are {', '.join(allowed)}"
            raise DataError(f"the option {key} of the data set {what}")
        options[key] = value
    return name, options
