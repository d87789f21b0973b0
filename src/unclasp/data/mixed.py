"""Two data sets as one, to train on both."""

from unclasp.batch import Sample
from unclasp.data import Dataset
from unclasp.data.lookup import fingerprint_of
from unclasp.errors import DataError


class Mixed:
    """All samples of one data set, and so many of a second one that these are a given share of all.

    The second data set is repeated, or only a part of it is used, evenly spread over it.

    Args:
        first: The data set that determines the length of an epoch.
        second: The other one.
        share: Share of the second one's samples in an epoch, above 0 and below 1.

    Raises:
        DataError: `share` is not between 0 and 1, or the second data set is empty.
    """

    def __init__(self, first: Dataset, second: Dataset, share: float) -> None:
        if not 0 < share < 1:
            raise DataError(f"the share of the second data set must lie between 0 and 1, got {share}")
        if not len(second):
            raise DataError("the second data set is empty: choose another one")
        self.first, self.second, self.share = first, second, share
        self._more = round(len(first) * share / (1 - share))

    def __len__(self) -> int:
        return len(self.first) + self._more

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"index must lie in [0, {len(self)}), got {index}")
        if index < len(self.first):
            return self.first[index]
        return self.second[(index - len(self.first)) * len(self.second) // self._more]

    @property
    def recipe(self) -> str:
        """All that the samples depend on."""
        return f"{fingerprint_of(self.first)}, and {self.share} of {fingerprint_of(self.second)}"
