# Rendered groups, no files: 40 categories to train on, 8 others to evaluate on.
image_size = (128, 128)
train_pipeline = [
    dict(type='SampleGroup', num_images=5),
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='LoadCoSegMask'),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='PackGroupInputs'),
]
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[dict(type='LoadCoSegImage'), dict(type='LoadCoSegMask')],
    ),
    dict(type='PackGroupInputs'),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='EpisodeSampler'),
    collate_fn=dict(type='group_collate'),
    dataset=dict(
        type='SyntheticCoSegDataset',
        num_categories=40,
        images_per_group=50,
        image_size=image_size,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='group_collate'),
    dataset=dict(
        type='SyntheticCoSegDataset',
        num_categories=8,
        category_offset=40,
        images_per_group=10,
        image_size=image_size,
        split='test',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CoSegMetric', protocol='native')
test_evaluator = val_evaluator
test_cfg = dict(type='TestLoop')
