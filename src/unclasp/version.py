"""The version of the installed package."""

from functools import cache
from importlib import metadata


@cache
def installed_version() -> str:
    """Return the version of unclasp, or "not installed" if its files are used without an installation."""
    try:
        return metadata.version("unclasp")
    except metadata.PackageNotFoundError:
        return "not installed"
