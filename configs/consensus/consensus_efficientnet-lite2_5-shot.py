# Five images of each group come with their masks; the others are scored.
_base_ = './consensus_efficientnet-lite2.py'
_base_.test_dataloader.dataset.pipeline.insert(1, dict(type='GiveExamples', num_examples=5))
test_evaluator = dict(hinted_images='skip')
