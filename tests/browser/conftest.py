from __future__ import annotations

import pytest
from support_browser import chromium


@pytest.fixture(scope="module")
def browser():
    """Chromium, for all tests of a module."""
    with chromium() as running:
        yield running
