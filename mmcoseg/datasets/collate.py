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
    try:
        return {key: [item[key] for item in batch] for key in ('inputs', 'data_samples')}
    except (KeyError, IndexError, TypeError) as error:
        raise MMCosegError(
            'group_collate takes items with the keys inputs and data_samples: does the data '
            f"set's pipeline end with PackGroupInputs? ({error!r})"
        ) from error
