# One image of each class comes with its mask; the others are scored.
_base_ = './consensus_efficientnet-lite2_multiclass.py'
_base_.test_dataloader.dataset.pipeline.insert(1, dict(type='GiveExamples', num_examples=1))
test_evaluator = dict(hinted_images='skip')
