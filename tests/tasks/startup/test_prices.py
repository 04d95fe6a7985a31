"""The price list that a session worker loads at its start."""

from __future__ import annotations

import pytest

from app.setting_values import SettingsError
from tasks.startup.prices import load_prices


def test_a_list_that_cannot_be_read_is_refused_at_the_start(tmp_path, configure):
    file = tmp_path / "prices.json"
    file.write_text('[{"id": 1}]')
    configure(PRICES_FILE=str(file))
    with pytest.raises(SettingsError, match=r"PRICES_FILE: .*prices\.json is no list of prices"):
        load_prices()
