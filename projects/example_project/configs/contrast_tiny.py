# DeepCO3 without downloads, with a loss and a ranking of instances of ours. It inherits from a
# config of the toolbox, wherever that is installed.
_base_ = 'mmcoseg::deepco3/deepco3_efficientnet-lite2.py'
custom_imports = dict(imports=['example_project'])

model = dict(
    losses=dict(contrast=dict(type='GroupContrastLoss', loss_weight=0.2)),
    postprocessors=[dict(type='DenseCRF'), dict(type='RankByArea', weight=0.3)],
)
