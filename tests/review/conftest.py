"""What the tests of the review share."""

import pytest

from mmcoseg.review import review


@pytest.fixture(autouse=True)
def no_page_to_wait_for(monkeypatch) -> None:
    monkeypatch.setattr(review, 'FIRST_SCREEN', 0)
