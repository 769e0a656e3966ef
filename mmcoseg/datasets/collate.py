"""How groups become a batch."""

from mmengine.registry import FUNCTIONS

from ..errors import MMCosegError

__all__ = ['group_collate']


@FUNCTIONS.register_module()
def group_collate(batch: list[dict]) -> dict:
    """Put groups of any size into one batch, one list entry a group.

    Items ``dict(inputs=list[Tensor (3, H, W)], data_samples=GroupDataSample)`` become
    ``dict(inputs=list[list[Tensor]], data_samples=list[GroupDataSample])``.
    """
    keys = ('inputs', 'data_samples')
    for item in batch:
        if not isinstance(item, dict) or not set(keys) <= set(item):
            what = sorted(item) if isinstance(item, dict) else type(item).__name__
            raise MMCosegError(
                'group_collate takes items with the keys inputs and data_samples, got '
                f"{what}: does the data set's pipeline end with PackGroupInputs?"
            )
    return {key: [item[key] for item in batch] for key in keys}
