"""A review from what people say to the files of the results."""

import json
import shutil
import threading
import time
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from demo_inputs import write_tiny_dataset
from PIL import Image

from mmcoseg.apis import segment_to_folder
from mmcoseg.datasets.hint_files import GivenHints, read_hints
from mmcoseg.datasets.image_io import read_mask
from mmcoseg.errors import MMCosegError
from mmcoseg.export.corrections import read_corrections
from mmcoseg.review import group_bench
from mmcoseg.review import review as module
from mmcoseg.review.group_bench import GroupBench
from mmcoseg.review.results import labels_of_png
from mmcoseg.review.review import Review
from mmcoseg.review.spread import spreading_inferencer
from mmcoseg.structures import Absent, Click, ExampleMask, hint_map, read_object

NUMBER = 6


@pytest.fixture(scope='module')
def segmented(tmp_path_factory):
    """Photos and their results."""
    root = write_tiny_dataset(tmp_path_factory.mktemp('photos'), {'a': NUMBER}, (96, 128))
    segment_to_folder(root / 'images', root / 'results', num_workers=1)
    return root


@pytest.fixture
def folder(segmented, tmp_path):
    shutil.copytree(segmented, tmp_path / 'copy')
    return tmp_path / 'copy' / 'results'


@pytest.fixture(scope='module')
def inferencer():
    return spreading_inferencer({})


@pytest.fixture
def start(inferencer, monkeypatch):
    """Starts reviews of folders, whose work is done when the block ends."""
    monkeypatch.setattr(module, 'FIRST_SCREEN', 0)

    @contextmanager
    def started(folder):
        review = Review(folder, lambda settings: inferencer)
        thread = threading.Thread(target=review.run)
        thread.start()
        try:
            yield review
        finally:
            review.stop()
            thread.join()

    return started


def wait_for(review, ready, seconds=120):
    end = time.monotonic() + seconds
    while not ready():
        review.events_after(review.revision, 0.2)
        assert time.monotonic() < end, 'it takes too long'


def settle(review):
    """Wait until the group is prepared and all masks are drawn."""
    [bench] = review.benches
    wait_for(review, lambda: bench.prepared == 1 and not bench.outdated)
    wait_for(review, lambda: not any(map(bench.needs_drawing, bench.images)))


def masks_of(review):
    [bench] = review.benches
    return [labels_of_png(bench.mask_for_page(image)) for image in bench.images]


def written(folder, number):
    return read_mask(folder / 'masks' / 'a' / f'{number:03}.png')


def stems(review):
    return [image.stem for image in review.benches[0].images]


def click(image, x, y, label):
    return dict(hint=dict(click=[x, y], object=label), group=0, image=image)


def decision(state, *images):
    return dict(decide=state, group=0, images=list(images))


def say_a_lot(review, count):
    """Boxes around masks of some images that say that these are no objects."""
    for number in range(count):
        rows, columns = np.nonzero(masks_of(review)[number])
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        hint = dict(box=list(map(int, box)), object=False)
        review.act(dict(hint=hint, group=0, image=number))


def maps_of(review):
    [bench] = review.benches
    return [bench.sample_of(image).pred_prob.data.numpy() for image in bench.images]


def same(masks, others):
    return [np.array_equal(a, b) for a, b in zip(masks, others, strict=True)]


def test_hints_change_masks_and_undo_gives_them_back(folder, start):
    with start(folder) as review:
        settle(review)
        first, maps = masks_of(review), maps_of(review)
        say_a_lot(review, 4)
        settle(review)
        after = masks_of(review)
        assert not any(same(after, first)[:4])
        assert not any(same(maps_of(review), maps)), 'hints must reach the other images'
        for _ in range(4):
            review.undo()
        settle(review)
        told = {}
        for event in review.events_after(0, 0):
            for image in event.get('images', ()):
                told[image['number']] = image
        for image in review.group(0)['images']:
            keys = ('sureness', 'empty', 'changed', 'version')
            assert [told[image['number']][key] for key in keys] == [image[key] for key in keys]
        assert all(same(masks_of(review), first))
        for _ in range(4):
            review.redo()
        settle(review)
        assert all(same(masks_of(review), after))


def test_everything_is_there_after_a_restart(folder, start):
    with start(folder) as review:
        settle(review)
        say_a_lot(review, 3)
        review.act(decision('accepted', 0, 5))
        review.act(decision('rejected', 4))
        settle(review)
        before, state = masks_of(review), review.state()
        images = review.group(0)['images']
        review.undo()
    with start(folder) as review:
        review.redo()
        settle(review)
        assert all(same(masks_of(review), before))
        assert review.state()['groups'] == state['groups']
        for image, earlier in zip(review.group(0)['images'], images, strict=True):
            keys = ('state', 'hints', 'sureness')
            assert [image[key] for key in keys] == [earlier[key] for key in keys]


def test_hints_of_one_kind_are_told(folder, start):
    with start(folder) as review:
        settle(review)
        [bench] = review.benches
        assert bench.unsaid is None
        review.act(click(0, 5, 5, False))
        settle(review)
        assert bench.unsaid == 'object'
        spread = [e for e in review.events_after(0, 0) if e['kind'] == 'spread']
        assert spread[-1]['unsaid'] == 'object'
        review.act(click(1, 5, 5, True))
        assert bench.unsaid is None
        review.undo()
        review.undo()
        review.act(dict(hint=dict(box=[5, 5, 50, 50]), group=0, image=2))
        assert bench.unsaid is None, 'a box shows the background, too'


def test_a_hint_is_answered_before_anything_else_is_computed(folder):
    review = Review(folder, spreading_inferencer)
    before = labels_of_png(review.mask(0, 0))
    y, x = np.argwhere(before)[len(np.argwhere(before)) // 2].tolist()
    review.act(click(0, x + 0.5, y + 0.5, False))
    [answered] = [image for image in review.group(0)['images'] if image['coarse']]
    assert answered['number'] == 0
    coarse = labels_of_png(review.mask(0, 0))
    scale = coarse.shape[0] / before.shape[0]
    assert not coarse[int((y + 0.5) * scale), int((x + 0.5) * scale)]
    assert coarse.any()


def test_masks_are_shown_before_anything_is_computed(folder, start):
    with start(folder) as review:
        settle(review)
        review.act(click(0, 5, 5, True))
        review.act(click(1, 5, 5, True))
        review.undo()
    again = Review(folder, spreading_inferencer)
    shown = [labels_of_png(again.mask(0, number, small=True)) for number in range(NUMBER)]
    assert all(mask.any() for mask in shown)


def test_accepted_masks_stay(folder, start, monkeypatch):
    monkeypatch.setattr(group_bench, '_CHANGE', -1)  # every change counts
    with start(folder) as review:
        settle(review)
        first = masks_of(review)
        review.act(decision('accepted', 4, 5))
        say_a_lot(review, 4)
        settle(review)
        assert same(masks_of(review), first) == [False] * 4 + [True] * 2
        spread = [e for e in review.events_after(0, 0) if e['kind'] == 'spread']
        asked = {number for event in spread for number in event['asked']}
        assert asked == {4, 5}
        assert {event['hint_image'] for event in spread} <= {0, 1, 2, 3}
        review.act(decision('unseen', *asked))
        settle(review)
        versions = [image['version'] for image in review.group(0)['images']]
        assert min(versions[4:]) > 1, 'they must be drawn anew'


def test_what_is_accepted_before_it_is_drawn(folder, start):
    review = Review(folder, spreading_inferencer)  # nothing is drawn
    review.act(click(0, 3, 4, True))
    review.act(decision('accepted', 0))
    review.act(decision('rejected', 1))
    assert review.undo()['what'].endswith(': rejected')
    states = [image['state'] for image in review.group(0)['images']]
    assert states == ['corrected'] + ['unseen'] * 5
    with start(folder) as review:  # after a crash
        settle(review)
        [bench] = review.benches
        wait_for(review, lambda: bench.images[0].decision.is_settled)
        accepted = masks_of(review)[0]
        assert accepted[4, 3] == 1
        review.act(click(1, 3, 4, False))
        review.act(click(1, 60, 50, True))
        settle(review)
        assert (masks_of(review)[0] == accepted).all()
        for _ in range(3):
            review.undo()
        assert review.group(0)['images'][0]['state'] == 'unseen'
        review.redo()
        assert (masks_of(review)[0] == accepted).all()
    with start(folder) as review:
        settle(review)
        assert (masks_of(review)[0] == accepted).all()
    assert (written(folder, 0) > 0).sum() == accepted.sum()


def test_files_follow(folder, start):
    originals = {path.name: path.read_bytes() for path in (folder / 'masks' / 'a').iterdir()}
    with start(folder) as review:
        settle(review)
        names = stems(review)
        review.act(decision('accepted', 1))
        review.act(decision('left out', 3))
        review.act(click(0, 3, 4, True))
        review.act(decision('accepted', 0))
        review.act(decision('rejected', 2))
        settle(review)
        mask = labels_of_png(review.benches[0].images[0].drawn)
    out = read_mask(folder / 'masks' / 'a' / f'{names[0]}.png')
    assert out[4, 3] == 255
    np.testing.assert_array_equal(out > 0, mask > 0)
    assert not read_mask(folder / 'masks' / 'a' / f'{names[2]}.png').any()
    for number in (1, 3):
        file = folder / 'masks' / 'a' / f'{names[number]}.png'
        assert file.read_bytes() == originals[file.name]
    state = json.loads(next((folder / '.mmcoseg/groups').iterdir()).read_text())
    reviews = {image['record']['stem']: image['record']['review'] for image in state['images']}
    expected = ['corrected', 'accepted', 'rejected', 'left out', 'unseen', 'unseen']
    assert reviews == dict(zip(names, expected, strict=True))
    report = (folder / 'report.html').read_text()
    for state in ('corrected', 'accepted', 'rejected'):
        assert report.count(f'<span class="badge review">{state}</span>') == 1
    assert 'somebody said in the review that it does not show the object' in report
    with start(folder) as review:
        for _ in range(5):
            review.undo()
        settle(review)
    now = {path.name: read_mask(path) for path in (folder / 'masks' / 'a').iterdir()}
    (folder / 'before').mkdir()
    for name, content in originals.items():
        (folder / 'before' / name).write_bytes(content)
        np.testing.assert_array_equal(now[name], read_mask(folder / 'before' / name))


def test_hints_and_objects_can_be_taken_along(folder, start, tmp_path):
    with start(folder) as review:
        settle(review)
        review.act(click(1, 3, 4, True))
        review.act(click(1, 30, 40, False))
        review.act(decision('rejected', 2))
        settle(review)
        review.write_hints(tmp_path / 'hints.json')
        saved = read_object(review.write_object(0))
        files = [image.finished.file_name for image in review.benches[0].images]
    hints = read_hints(tmp_path / 'hints.json').by_image
    assert hints == {
        f'a/{files[1]}': [Click(3, 4), Click(30, 40, label=0)],
        f'a/{files[2]}': [Absent()],
    }
    assert saved.classes == ('a',) and saved.origin['hinted_images'] == 2


def test_corrected_masks_come_back(folder, start, tmp_path):
    shutil.copytree(folder / 'masks', tmp_path / 'masks')
    right = np.zeros_like(read_mask(tmp_path / 'masks/a/001.png'))
    right[5:20, 7:30] = 255
    Image.fromarray(right).save(tmp_path / 'masks/a/001.png')
    empty = Image.fromarray(np.zeros_like(read_mask(tmp_path / 'masks/a/002.png')))
    empty.save(tmp_path / 'masks/a/002.png')
    for number in (0, 4, 5):
        (tmp_path / f'masks/a/00{number}.png').unlink()
    with start(folder) as review:
        assert review.take_corrections(read_corrections(tmp_path)) == 3
        settle(review)
        states = [image['state'] for image in review.group(0)['images']]
        assert states == ['unseen', 'corrected', 'corrected', 'accepted', 'unseen', 'unseen']
        [hint] = review.image(0, 1)['hints']
        assert hint == dict(example=True)
        assert len(review.journal.actions) == 2
    np.testing.assert_array_equal(read_mask(folder / 'masks/a/001.png'), right)
    assert not read_mask(folder / 'masks/a/002.png').any()


def test_reduced_examples_say_the_same():
    mask = np.zeros((400, 600), np.uint8)
    mask[100:300, 50:330] = 1
    reduced = group_bench._ReducedMask(cv2.resize(mask, (240, 160), interpolation=0))
    full, small = (hint_map([hint], (400, 600), (20, 30)) for hint in (ExampleMask(mask), reduced))
    assert (full.labels != small.labels).mean() < 0.02 and small.sure.all()
    assert isinstance(reduced, ExampleMask) and reduced.classes == {1}


@pytest.mark.parametrize(
    ('name', 'hint', 'message'),
    [
        ('a/000', ExampleMask(np.ones((5, 5), np.uint8)), 'a/000: the mask is 5 x 5'),
        ('a/009', Absent(), 'there is no image'),
    ],
)
def test_corrections_that_do_not_fit(folder, name, hint, message):
    review = Review(folder, spreading_inferencer)
    given = GivenHints({'a/001': [Absent()], name: [hint]})
    with pytest.raises(MMCosegError, match=message):
        review.take_corrections(given)
    assert review.journal.actions == []


def test_results_that_were_segmented_again(segmented, tmp_path, start):
    root = tmp_path / 'copy'
    shutil.copytree(segmented, root)
    with start(root / 'results') as review:
        settle(review)
        review.act(click(0, 3, 4, True))
        review.act(decision('accepted', 0))
        review.act(decision('rejected', 1))
    hints = {'a/000': [Absent()], 'a/001': [Click(5, 5)]}
    segment_to_folder(root / 'images', root / 'results', hints=hints, num_workers=1)
    found = read_mask(root / 'results/masks/a/001.png')
    assert found[5, 5] == 255
    with start(root / 'results') as review:
        settle(review)
        for _ in range(3):
            review.undo()
        settle(review)
    np.testing.assert_array_equal(read_mask(root / 'results/masks/a/001.png'), found)


def test_results_without_soft_maps(folder, start):
    shutil.rmtree(folder / '.mmcoseg' / 'maps')
    with start(folder) as review:
        settle(review)
        first = masks_of(review)
        review.act(click(0, 3, 4, True))
        settle(review)
        assert masks_of(review)[0][4, 3] == 1
        review.undo()
        settle(review)
        assert all(same(masks_of(review), first))


def test_an_image_whose_photo_is_gone(folder, start):
    photos = sorted((folder.parent / 'images' / 'a').iterdir())
    photos[0].unlink()
    with start(folder) as review:
        settle(review)
        with pytest.raises(MMCosegError, match='takes no hints, since its photo is not where'):
            review.act(click(0, 3, 4, True))
        review.act(decision('accepted', 0))
        review.act(click(1, 3, 4, True))
        settle(review)
    assert review.state()['groups'][0]['counts']['accepted'] == 1


@pytest.mark.parametrize(
    ('action', 'message'),
    [
        (click(0, 300, 4, True), 'lies outside of the image'),
        (click(0, 'x', 4, True), 'it takes 2 numbers'),
        (click(0, 3, 4, 'dog'), '"object" is'),
        (dict(hint=dict(click=[1, 2]), group=0), '"image" must be a whole number'),
        (dict(hint=None, group=0, image=0), 'a hint has exactly one'),
        (dict(decide='fine', group=0, images=[0]), 'an action has a "hint", or "decide"'),
        (dict(decide='accepted', group=0, images=[]), '"images" must be a list'),
        (dict(decide='accepted', group=0, images=['0']), 'must be a whole number'),
        (dict(group='a'), '"group" must be a whole number'),
    ],
    ids=range(9),
)
def test_a_bad_action_changes_nothing(folder, action, message):
    review = Review(folder, spreading_inferencer)
    with pytest.raises(MMCosegError, match=message):
        review.act(action)
    assert review.journal.actions == []


@pytest.mark.parametrize('action', [click(99, 1, 2, True), dict(click(0, 1, 2, True), group=7)])
def test_an_image_that_is_not_there(folder, action):
    with pytest.raises(KeyError):
        Review(folder, spreading_inferencer).act(action)


def test_a_folder_without_results(tmp_path):
    with pytest.raises(MMCosegError, match='holds no results'):
        Review(tmp_path, spreading_inferencer)


def test_one_image_that_fails_does_not_end_the_review(folder, start, monkeypatch):
    draw, failed = GroupBench.draw, []

    def failing(bench, image, inferencer):
        if image.number == 0 and not failed:
            failed.append(image)
            raise RuntimeError('out of luck')
        return draw(bench, image, inferencer)

    monkeypatch.setattr(GroupBench, 'draw', failing)
    with start(folder) as review:
        settle(review)
        review.act(click(0, 3, 4, True))
        review.act(click(1, 3, 4, True))
        settle(review)
        assert masks_of(review)[1][4, 3] == 1
        problems = [e['text'] for e in review.events_after(0, 0) if e['kind'] == 'problem']
        [text] = problems
        assert text.endswith(': its edges could not be drawn: out of luck')
        review.act(decision('accepted', 0, 1))


def test_what_always_fails_is_told_once(folder, start, monkeypatch):
    def failing(bench, inferencer):
        raise RuntimeError('out of luck')
        yield

    monkeypatch.setattr(GroupBench, 'prepare', failing)
    with start(folder) as review:
        settle(review)
        review.act(click(0, 3, 4, True))  # on its own image it counts all the same
        settle(review)
        assert masks_of(review)[0][4, 3] == 1
        problems = [e['text'] for e in review.events_after(0, 0) if e['kind'] == 'problem']
        assert problems == ['RuntimeError: out of luck']
