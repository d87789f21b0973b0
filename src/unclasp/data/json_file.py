"""Reading of JSON that may be damaged in any way."""

import json
from pathlib import Path
from typing import Any, Final

from unclasp.errors import DataError

MISFITS: Final = (AttributeError, LookupError, OverflowError, TypeError, ValueError)
"""What taking apart JSON of another structure, or with huge numbers, may raise."""
TOO_DEEP: Final = "it is nested too deeply, or a number has thousands of digits"


def parse_json(content: bytes | str, path: Path, advice: str = "fetch it again") -> Any:
    """Parse JSON from a file; errors end with the advice.

    Raises:
        DataError: It is not whole, is nested too deeply, or has a number of thousands of digits.
    """
    try:
        return json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not whole JSON ({error}); {advice}") from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"{path} is not whole JSON ({TOO_DEEP}); {advice}") from error
