import numpy as np
import pytest
import torch

from mmcoseg.models.ops import boxes_of, proposals_of_boxes


def literal_box(mask):
    ys, xs = np.nonzero(mask)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0, 0, 0, 0]


@pytest.fixture
def masks():
    masks = torch.rand(12, 9, 7, generator=torch.Generator().manual_seed(0)) < 0.05
    masks[3] = False
    masks[4] = True
    return masks


def test_boxes_hold_all_pixels_and_no_more(masks):
    assert boxes_of(masks).tolist() == [literal_box(mask.numpy()) for mask in masks]
    assert boxes_of(masks[:0]).shape == (0, 4)
    assert boxes_of(torch.zeros(2, 0, 5, dtype=torch.bool)).tolist() == [[0] * 4] * 2


def test_proposal_of_highest_iou_with_the_boxes_area(masks):
    boxes = torch.tensor([[0, 0, 7, 9], [1, 2, 5, 6], [-3, 4, 99, 8], [2, 2, 2, 2]])
    expected = []
    for left, top, right, bottom in boxes.tolist():
        area = torch.zeros(9, 7, dtype=torch.bool)
        area[max(0, top) : bottom, max(0, left) : right] = True
        expected.append([int((m & area).sum()) / max(1, int((m | area).sum())) for m in masks])
    index, iou = proposals_of_boxes(boxes, masks)
    np.testing.assert_allclose(iou, np.max(expected, axis=1))
    np.testing.assert_array_equal(index, np.argmax(expected, axis=1))
    assert proposals_of_boxes(boxes.double() + 0.2, masks)[0].tolist() == index.tolist()
    assert proposals_of_boxes(boxes[:0], masks)[0].shape == (0,)


def test_proposal_of_highest_iou_of_boxes(masks):
    boxes = boxes_of(masks)
    index, iou = proposals_of_boxes(boxes, masks, compared='boxes')
    full = (boxes[:, 2] > boxes[:, 0]).numpy()
    np.testing.assert_array_equal(boxes[index][full], boxes[full])
    np.testing.assert_allclose(iou, full.astype(float))


def test_what_cannot_be_is_refused(masks):
    with pytest.raises(ValueError, match="compared must be one of .*'areas'"):
        proposals_of_boxes(boxes_of(masks), masks, compared='areas')
    with pytest.raises(ValueError, match='no proposals'):
        proposals_of_boxes(boxes_of(masks), masks[:0])
