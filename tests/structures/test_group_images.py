import torch

from mmcoseg.structures import GroupImages


def images_of(count=5, size=(4, 6)):
    """Images whose values are their number; their batches have twice the value."""
    seen = []

    def normalize(images, size):
        seen.append(len(images))
        assert size == (4, 6)
        return 2 * torch.stack(images).float()

    images = [torch.full((3, *size), number, dtype=torch.uint8) for number in range(count)]
    return GroupImages(images, size, normalize), seen


def numbers_of(batch):
    return (batch[:, 0, 0, 0] / 2).tolist()


def test_batches_are_made_of_what_is_asked_for_and_not_before():
    images, seen = images_of()
    assert len(images) == 5 and images.size == (4, 6) and images.device == torch.device('cpu')
    assert [image.dtype for image in images] == [torch.uint8] * 5
    assert seen == []
    assert numbers_of(images.batch([3, 0, 3])) == [3, 0, 3]
    assert images.batch().shape == (5, 3, 4, 6)
    assert seen == [3, 5]


def test_parts_are_images_of_the_same_size_and_normalization():
    images, seen = images_of()
    some = images.select([4, 1])
    assert len(some) == 2 and some.size == images.size
    assert numbers_of(some.batch()) == [4, 1] and numbers_of(some.batch([1])) == [1]
    groups = images.split([2, 0, 3])
    assert [len(group) for group in groups] == [2, 0, 3]
    assert numbers_of(groups[2].batch()) == [2, 3, 4]
    assert next(iter(some)) is list(images)[4]


def test_chunks_are_all_indices_in_order():
    images, _ = images_of()
    assert list(images.chunks(2)) == [[0, 1], [2, 3], [4]]
    assert list(images.chunks(9)) == [[0, 1, 2, 3, 4]]
    assert list(images.select([]).chunks(2)) == []


def test_a_batch_that_is_normalized_already():
    batch = torch.rand(3, 3, 4, 6)
    images = GroupImages.of(batch)
    assert images.size == (4, 6) and torch.equal(images.batch(), batch)
    assert torch.equal(images.batch([2, 0]), batch[[2, 0]])


def test_who_watches_hears_of_each_batch():
    images, seen = images_of()
    heard = []
    watched = images.watched(heard.append)
    assert numbers_of(watched.batch([3, 0])) == [3, 0]
    assert numbers_of(watched.select([1, 2, 4]).batch()) == [1, 2, 4]
    assert images.batch().shape[0] == 5 and watched.size == images.size
    assert heard == [2, 3] and seen == [2, 3, 5]
