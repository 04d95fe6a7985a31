"""What calls to models cost, by the price list of the library `genai-prices`, or one of the operator.

Nothing is fetched. The list is large, so it is loaded when it is first needed.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from workers.egress.gateway.counts import Counts


class Prices:
    """Prices of models. `file` is the operator's list: JSON in the form of genai-prices's `data.json`."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file

    def load(self) -> None:
        """Load the list now. Raises ValueError, which says what is wrong with the operator's."""
        _load(self._file)

    def find(self, model: str | None, url: str, counts: Counts) -> float | None:
        """What `counts` cost in US dollars at the provider of `url`, or at the model's own; None if that is unknown."""
        if model is None:
            return None
        prices = _load(self._file)
        from genai_prices import Usage

        usage = Usage(
            input_tokens=counts.given,
            cache_read_tokens=counts.cached,
            cache_write_tokens=counts.written,
            cache_write_1h_tokens=counts.written_for_an_hour,
            output_tokens=counts.produced,
        )
        # Names in the manner of LiteLLM have the provider in front, and other servers use names of the model's provider.
        for provider, api_url in ((None, url), ("litellm", None)):
            try:
                return float(prices.calc(usage, model, provider, api_url, None).total_price)
            except (LookupError, ValueError):
                continue
        return None


@functools.cache
def _load(file: Path | None) -> Any:
    """The price list. Raises ValueError for a file that is none."""
    from genai_prices.data_snapshot import DataSnapshot, get_snapshot

    if file is None:
        return get_snapshot()
    # What the library itself reads an update with.
    from genai_prices.types import _providers_from_raw

    try:
        providers = _providers_from_raw(json.loads(file.read_bytes()))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} is no list of prices in the form of genai-prices: {error}") from None
    return DataSnapshot(providers, from_auto_update=False)
