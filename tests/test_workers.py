"""Numbers of workers, and work in threads."""

import pytest

from mmcoseg.workers import default_workers, map_in_threads, with_workers


def test_a_number_holds_within_its_block():
    before = default_workers()
    with with_workers(3), with_workers(5):
        assert default_workers() == 5
    assert default_workers() == before >= 1


@pytest.mark.parametrize('workers', [0, 1, 4])
def test_results_come_in_order_and_errors_come_through(workers):
    assert map_in_threads(abs, iter([3, -2, 1]), workers) == [3, 2, 1]
    with pytest.raises(ZeroDivisionError):
        map_in_threads(lambda x: 1 / x, [1, 0, 1], workers)
