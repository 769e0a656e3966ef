# The network of DeepCO3's published code: VGG16 through fc6 (4,096 channels, stride 32), a 1x1
# convolution that begins with zeros, and one fixed bilinear upsampling by 32.
_base_ = './deepco3_vgg16.py'
model = dict(
    backbone=dict(out_stages=['fc6'], last_pool=True),
    decode_head=dict(
        in_channels=[4096],
        strides=[32],
        upsampling='fixed',
        init_cfg=dict(type='Constant', val=0.0, override=dict(name='conv')),
    ),
)
