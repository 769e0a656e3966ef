"""One description of the options for the command line, Python and the settings of results."""

from dataclasses import FrozenInstanceError, fields

import pytest

from mmcoseg import cli
from mmcoseg.apis import CoSegInferencer, InferenceOptions, SegmentOptions, segment_to_folder
from mmcoseg.errors import MMCosegError


def parsed(*args):
    parser = cli._parser('mmcoseg')
    return cli._segment_options(parser.parse_args(['segment', 'photos', '--out', 'out', *args]))


def test_the_command_line_has_the_defaults_of_python():
    assert parsed() == SegmentOptions()


def test_every_flag_sets_its_option():
    options = parsed(
        *('--config', 'x.py', '--weights', 'w.pth', '--cfg-options', 'a.b=1', '--device', 'cpu'),
        *('--no-crf', '--classes', '2', '--min-area', '0.5', '--largest', '--seed', '3'),
        *('--presence-threshold', '0.25', '--workers', '4', '--trust-checkpoint', '--polygons'),
        *('--format', 'masks,coco', 'yolo', '--copy', '--overwrite', '--cutouts'),
        *('--hints', 'h.json', '--examples', 'masks', '--save-object', 'mug.coseg'),
        *('--sequence', '--every', '5'),
    )
    assert options == SegmentOptions(
        config='x.py',
        weights='w.pth',
        cfg_options={'a.b': 1},
        device='cpu',
        crf=False,
        num_classes=2,
        min_area=0.5,
        largest=True,
        seed=3,
        presence_threshold=0.25,
        num_workers=4,
        trust_weights=True,
        polygons=True,
        formats=['masks,coco', 'yolo', 'cutouts'],
        copy_images=True,
        overwrite=True,
        hints='h.json',
        examples='masks',
        save_object='mug.coseg',
        sequence=True,
        every=5,
    )
    assert options.settings()['formats'] == ['masks', 'cutouts', 'coco', 'yolo']
    unset = {o.name for o in fields(options) if getattr(options, o.name) == o.default}
    assert unset == {'method', 'limits', 'channel_order', 'objects'}


@pytest.mark.parametrize(
    'wrong',
    [
        dict(presence_threshold=1.5),
        dict(num_workers=-1),
        dict(min_area=float('nan')),
        dict(num_classes='many'),
        dict(seed=0.5),
        dict(formats=['svg']),
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(MMCosegError):
        SegmentOptions(**wrong)


def test_an_unknown_option_gets_a_suggestion(tmp_path):
    with pytest.raises(MMCosegError, match="no 'presence'.*did you mean 'presence_threshold'"):
        CoSegInferencer(presence=0.3)
    with pytest.raises(MMCosegError, match="SegmentOptions has no 'format'.*'formats'"):
        segment_to_folder(tmp_path, tmp_path / 'out', format=['masks'])
    assert not (tmp_path / 'out').exists()


def test_single_options_go_before_given_ones():
    options = InferenceOptions.of(SegmentOptions(method='ddt', seed=3), dict(seed=4))
    assert options == SegmentOptions(method='ddt', seed=4)
    with pytest.raises(FrozenInstanceError):
        options.seed = 5
