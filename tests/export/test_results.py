"""Results written later in other formats are those that the run itself would have written."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from made_results import GROUPS, HARD, add_instances, make_sample, samples_of, stored, write_results

from mmcoseg.cli import main
from mmcoseg.datasets.image_io import read_mask
from mmcoseg.errors import MMCosegError
from mmcoseg.export import FORMATS, export_results, read_corrections
from mmcoseg.export.run_state import GroupState, only_run


def state_of(out, group='cat'):
    return GroupState.read(out / f'.mmcoseg/groups/{group}.json')


@pytest.fixture
def photos(tmp_path):
    return tmp_path / 'photos'


@pytest.mark.parametrize('place', ['in place', 'elsewhere'])
def test_later_is_the_same_as_at_once(tmp_path, photos, place):
    expected = stored(write_results(tmp_path / 'whole', samples_of(GROUPS, photos), FORMATS))
    out = write_results(tmp_path / 'part', samples_of(GROUPS, photos), [])
    target = None if place == 'in place' else tmp_path / 'other'
    result = export_results(out, FORMATS, target)
    assert result.skipped == [] and result.num_images == sum(map(len, GROUPS.values()))
    found = stored(out if target is None else target)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


def test_later_is_the_same_of_instances(tmp_path, photos):
    masks = np.zeros((3, 40, 60), bool)
    masks[0, 2:30, 2:30] = masks[1, 20:38, 20:50] = masks[2, 25:28, 22:59] = True
    foreground = masks[0] | masks[1]
    foreground[0] = True  # the method's foreground is not the union of its instances

    def samples():
        for stem, chosen in dict(a=[0, 1, 2], b=[2], c=[]).items():
            sample = make_sample('cat', stem, foreground.astype(np.uint8), 1, photos)
            scores = [0.9 - 0.1 * number for number in chosen]
            yield add_instances(sample, masks[chosen], [0] * len(chosen), scores)

    expected = stored(write_results(tmp_path / 'whole', samples(), FORMATS))
    out = write_results(tmp_path / 'part', samples(), ['masks'])
    export_results(out, FORMATS)
    found = stored(out)
    assert [name for name in expected if found[name] != expected[name]] == []
    # Without mask files, what is foreground beside the instances is lost, as it is in COCO.
    out = write_results(tmp_path / 'bare', samples(), ['coco'])
    export_results(out, ['masks'])
    np.testing.assert_array_equal(read_mask(out / 'masks/cat/a.png') > 0, masks.any(0))
    assert stored(out)['instances/cat/a.png'] == expected['instances/cat/a.png']


def test_a_mask_file_of_another_size_is_named(tmp_path, photos):
    samples = samples_of(dict(cat=HARD), photos)
    out = write_results(tmp_path / 'out', samples, ['masks', 'coco'], polygons=True)
    shutil.copy(out / 'masks/cat/full.png', out / 'masks/cat/pixel.png')
    with pytest.raises(MMCosegError, match=r'pixel\.png is 41 x 53, its image is 7 x 9'):
        export_results(out, ['masks'])


def test_polygons_stay_polygons_and_masks_exact(tmp_path, photos):
    samples = samples_of(dict(cat=HARD), photos)
    out = write_results(tmp_path / 'out', samples, ['masks', 'coco'], polygons=True)
    before = stored(out)
    export_results(out, ['masks', 'coco'])
    assert stored(out) == before


def test_what_a_person_decided_is_followed(tmp_path, photos):
    reviews = dict(blobs='rejected', full='left out', pixel='accepted')
    out = write_results(tmp_path / 'out', samples_of(dict(cat=HARD), photos), FORMATS, reviews)
    result = export_results(out, FORMATS)
    assert result.num_images == len(HARD) - 1
    for kind in 'masks overlays cutouts labelme labelme-masks yolo/labels yolo/images'.split():
        stems = {path.stem for path in (out / kind / 'cat').iterdir()}
        assert stems == HARD.keys() - {'full'}, kind
    assert not read_mask(out / 'masks/cat/blobs.png').any()
    assert (out / 'yolo/labels/cat/blobs.txt').read_text() == ''
    records = {image.record.stem: image.record for image in state_of(out).images}
    assert records['full'].files == {} and 'masks' in records['blobs'].files
    # A decision that is taken back brings the objects back.
    state = state_of(out)
    for image in state.images:
        image.record.review = 'unseen'
    state.write(out / '.mmcoseg/groups/cat.json')
    export_results(out, FORMATS)
    whole = write_results(tmp_path / 'whole', samples_of(dict(cat=HARD), photos), FORMATS)
    assert stored(out) == stored(whole)


def test_a_photograph_that_is_gone_or_changed_is_named(tmp_path, photos, capsys):
    out = write_results(tmp_path / 'out', samples_of(dict(cat=HARD), photos), ['overlays'])
    before = (out / 'overlays/cat/blobs.png').exists(), stored(out)['overlays/cat/blobs.jpg']
    (photos / 'cat/blobs.png').unlink()
    shutil.copy(photos / 'cat/full.png', photos / 'cat/pixel.png')
    formats = ['masks', 'overlays', 'yolo', 'labelme', 'labelme-masks']
    assert main(['export', str(out), '--format', *formats]) == 1
    text, problems = capsys.readouterr()
    assert text == f'{len(HARD)} images written to {out}\n'
    gone, changed = sorted(problems.splitlines())
    assert gone == (
        'mmcoseg export: cat/blobs.png: overlays, yolo: there is no file '
        f'{out}/../photos/cat/blobs.png'
    )
    assert changed.startswith('mmcoseg export: cat/pixel.png: overlays, yolo: ')
    assert 'pixel.png is 41 x 53, its mask is 7 x 9' in changed
    # What was there stays, and all that needs no photograph is written.
    assert not before[0] and stored(out)['overlays/cat/blobs.jpg'] == before[1]
    for kind, suffix in (('masks', 'png'), ('labelme', 'json'), ('labelme-masks', 'json')):
        assert (out / kind / f'cat/blobs.{suffix}').exists()
    assert main(['export', str(out), '--format', 'masks,coco', 'cvat', 'label-studio']) == 0
    assert capsys.readouterr().err == ''


def test_images_in_memory_have_no_photograph(tmp_path):
    out = write_results(tmp_path / 'out', samples_of(dict(cat=dict(a=HARD['blobs']))), ['masks'])
    result = export_results(out, ['masks', 'labelme', 'yolo', 'coco'])
    reason = 'labelme, yolo: it was given in memory, and has no file'
    assert result.skipped == [('cat/a', reason)]


def test_paths_are_seen_from_the_new_folder(tmp_path, photos):
    out = write_results(tmp_path / 'out', samples_of(dict(cat=HARD), photos), ['masks'])
    target = tmp_path / 'far/away'
    export_results(out, ['coco', 'labelme'], target)
    for image in json.loads((target / 'annotations.json').read_text())['images']:
        assert (target / image['source']).samefile(photos / image['file_name'])
    document = json.loads((target / 'labelme/cat/blobs.json').read_text())
    assert (target / 'labelme/cat' / document['imagePath']).samefile(photos / 'cat/blobs.png')


def test_groups_that_are_being_computed_are_named(tmp_path, photos):
    out = write_results(tmp_path / 'out', samples_of(GROUPS, photos), ['masks'])
    state = state_of(out)
    state.finished = False
    state.write(out / '.mmcoseg/groups/cat.json')
    result = export_results(out, ['coco'], tmp_path / 'other')
    assert [name for name, _ in result.skipped] == ['cat']
    assert 'being computed anew' in result.skipped[0][1]
    images = json.loads((tmp_path / 'other/annotations.json').read_text())['images']
    assert len(images) == result.num_images == sum(map(len, GROUPS.values())) - len(HARD)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere', '--format', 'coco'], 'there is no file or folder nowhere'),
        (['photos', '--format', 'coco'], 'there are no results in photos; give the folder'),
        (['out', '--format', 'coco', 'svg'], r"there are no formats \['svg'\]"),
        (['out', '--format', 'coco', '--out', 'out2'], 'out2 has results of its own'),
    ],
)
def test_what_is_refused(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    samples = samples_of(dict(cat=dict(a=HARD['blobs'])), tmp_path / 'photos')
    for name in ('out', 'out2'):
        write_results(tmp_path / name, samples, ['masks'])
    assert main(['export', *arguments]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / 'out/annotations.json').exists()


def test_a_folder_that_a_run_writes_to_is_refused(tmp_path, photos):
    out = write_results(tmp_path / 'out', samples_of(dict(cat=HARD), photos), ['masks'])
    with only_run(out), pytest.raises(OSError, match='another run or review is using'):
        export_results(out, ['coco'])


def test_results_of_earlier_versions(tmp_path, photos):
    out = write_results(tmp_path / 'out', samples_of(dict(cat=HARD), photos), ['masks'])
    file = out / '.mmcoseg/groups/cat.json'
    content = json.loads(file.read_text())
    for image in content['images']:
        del image['record']['review'], image['record']['instances']
    file.write_text(json.dumps(content))
    export_results(out, ['coco'])
    images = json.loads((out / 'annotations.json').read_text())['images']
    assert {image['review'] for image in images} == {'unseen'}


def test_a_damaged_summary_does_not_matter(tmp_path, photos):
    out = write_results(tmp_path / 'out', samples_of(dict(cat=HARD), photos), ['masks'])
    (out / 'summary.json').write_text('{')
    export_results(out, ['coco'])
    assert json.loads((out / 'summary.json').read_text())['totals']['num_images'] == len(HARD)


def test_results_are_corrections(tmp_path, photos):
    out = write_results(tmp_path / 'out', samples_of(dict(cat=HARD), photos), ['masks', 'coco'])
    export_results(out, ['labelme-masks', 'label-studio'])
    hints = read_corrections(out)
    assert hints.by_image.keys() == {f'cat/{stem}' for stem in HARD}


@pytest.mark.parametrize('form', ['labelme', 'labelme-masks', 'coco', 'label-studio', 'cvat'])
def test_exports_are_corrections(tmp_path, photos, form):
    out = write_results(tmp_path / 'out', samples_of(dict(cat=HARD), photos), ['masks'])
    export_results(out, [form], tmp_path / 'exported')
    found = read_corrections(tmp_path / 'exported').by_image
    assert {name.rsplit('.', 1)[0] for name in found} == {f'cat/{stem}' for stem in HARD}


@pytest.mark.slow
def test_mistyped_formats_are_found_before_anything_heavy_is_imported(tmp_path):
    code = (
        'import sys; from mmcoseg.cli import main\n'
        f'code = main(["export", {str(tmp_path)!r}, "--format", "svg"])\n'
        'print(code, "torch" in sys.modules)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.strip() == '1 False'
