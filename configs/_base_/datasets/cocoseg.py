# SSNM's data: training on COCO-SEG (COCO 2017's instances), testing on the four published sets,
# each in the canonical layout under data/. Sets that are not there are left out of the test.
train_pipeline = [
    dict(type='SampleGroup', num_images=5),
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='LoadCoSegMask'),
            dict(type='ResizeToInput'),
        ],
    ),
    dict(type='PackGroupInputs'),
]
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='ResizeToInput'),
            dict(type='LoadCoSegMask'),
        ],
    ),
    dict(type='PackGroupInputs'),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='EpisodeSampler'),
    collate_fn=dict(type='group_collate'),
    dataset=dict(type='COCOSEGDataset', data_root='data/coco', pipeline=train_pipeline),
)

test_set = dict(test_mode=True, pipeline=test_pipeline)
test_loader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='group_collate'),
)
test_dataloader = dict(
    msrc=dict(**test_loader, dataset=dict(type='MSRC7Dataset', data_root='data/msrc', **test_set)),
    internet=dict(
        **test_loader, dataset=dict(type='InternetDataset', data_root='data/internet', **test_set)
    ),
    icoseg=dict(
        **test_loader, dataset=dict(type='ICoseg8Dataset', data_root='data/icoseg', **test_set)
    ),
    pascal=dict(
        **test_loader,
        dataset=dict(type='PASCALCoSegDataset', data_root='data/pascal_coseg', **test_set),
    ),
)
test_evaluator = dict(type='CoSegMetric', protocol=['native', 'ssnm-224'])
test_cfg = dict(type='MultiTestLoop')

# During training one set is watched.
val_dataloader = test_dataloader['pascal']
val_evaluator = dict(type='CoSegMetric', protocol='native')
