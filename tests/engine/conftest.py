"""A small system that real processes train: SSNM on a tiny backbone and a tiny data set."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from demo_inputs import write_tiny_dataset
from tool_server import ToolServer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # constant_segmentor

CONFIG = """
_base_ = {runtime!r}
custom_imports = dict(imports=['tiny_backbone'])
model = dict(
    type='SSNM',
    backbone=dict(type='TinyGroupNormBackbone'),
    neck=dict(type='LevelProjection', in_channels=[8, 8, 8, 8], channels=8),
    modulators=dict(
        spatial=dict(type='SpatialModulator', in_channels=[8, 8, 8, 8], channels=8),
        semantic=dict(
            type='SemanticModulator', in_channels=8, channels=8, reduced_channels=4, num_classes=4
        ),
    ),
    decode_head=dict(type='CoarseToFineHead', in_channels=[8] * 4),
    test_cfg=dict(grouping='whole'),
)
load = [dict(type='LoadCoSegImage'), dict(type='LoadCoSegMask')]
resize = dict(type='Resize', scale=(32, 32), keep_ratio=False)
flip = dict(type='RandomFlip', prob=0.5)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='EpisodeSampler', seed=0),
    collate_fn=dict(type='group_collate'),
    dataset=dict(
        type='CoSegDataset',
        data_root={data!r},
        groups=['a', 'b', 'c', 'd'],
        pipeline=[
            dict(type='SampleGroup', num_images=3),
            dict(type='ForEachImage', transforms=[*load, resize, flip]),
            dict(type='PackGroupInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='group_collate'),
    dataset=dict(
        type='CoSegDataset',
        data_root={data!r},
        groups=['e', 'f'],
        test_mode=True,
        pipeline=[
            dict(type='ForEachImage', transforms=[load[0], resize, load[1]]),
            dict(type='PackGroupInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CoSegMetric')
test_evaluator = val_evaluator
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
param_scheduler = [dict(type='StepLR', by_epoch=False, step_size=3, gamma=0.5)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=8, val_interval=8)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
log_processor = dict(window_size=1)
default_hooks = dict(
    logger=dict(interval=1),
    checkpoint=dict(interval=2, max_keep_ckpts=10),
)
"""

BACKBONE = """
import torch
from mmengine.model import BaseModule
from torch import nn

from mmcoseg.registry import MODELS


@MODELS.register_module()
class TinyGroupNormBackbone(BaseModule):
    def __init__(self, dropout=0.0):
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(3 if i == 0 else 8, 8, 3, stride=2, padding=1),
                nn.GroupNorm(2, 8),
                nn.ReLU(),
                nn.Dropout2d(dropout),
            )
            for i in range(4)
        )

    def forward(self, x):
        levels = []
        for stage in self.stages:
            levels.append(x := stage(x))
        return tuple(levels)
"""


class TinySystem:
    """A folder with data, a config and a backbone in a module that nobody installed."""

    def __init__(self, folder: Path, repo: Path, env: dict[str, str], server: ToolServer) -> None:
        self.folder, self.repo, self.server = folder, repo, server
        self.env = {**env, 'PYTHONPATH': f'{folder}:{env["PYTHONPATH"]}'}
        data = write_tiny_dataset(folder / 'data', dict.fromkeys('abcdef', 4))
        runtime = repo / 'configs' / '_base_' / 'default_runtime.py'
        self.config = folder / 'tiny.py'
        self.config.write_text(CONFIG.format(runtime=str(runtime), data=str(data)))
        (folder / 'tiny_backbone.py').write_text(BACKBONE)

    def command(self, tool: str, *args: object, processes: int = 1) -> list[str]:
        program = [str(self.repo / 'tools' / f'{tool}.py'), str(self.config), *map(str, args)]
        if processes == 1:
            return [sys.executable, '-W', 'ignore', *program]
        torchrun = [sys.executable, '-W', 'ignore', '-m', 'torch.distributed.run', '--standalone']
        return [*torchrun, f'--nproc_per_node={processes}', *program, '--launcher', 'pytorch']

    def run(
        self, tool: str, *args: object, processes: int = 1, code: int = 0
    ) -> subprocess.CompletedProcess:
        """Run a tool from the system's folder; its exit code must be ``code``."""
        command = self.command(tool, *args, processes=processes)
        if processes == 1:
            program = command.index(str(self.repo / 'tools' / f'{tool}.py'))
            done = self.server.run(command[program:], self.folder, self.env)
        else:
            options = dict(capture_output=True, text=True, timeout=300)
            done = subprocess.run(command, cwd=self.folder, env=self.env, **options)
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-6000:]
        return done

    def losses(self, work_dir: str) -> dict[int, float]:
        """The logged loss of every step; of a step logged twice, the later."""
        logs = sorted((self.folder / work_dir).glob('*/vis_data/*.json'))
        lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
        return {line['step']: line['loss'] for line in lines if 'loss' in line}


@pytest.fixture
def tiny_system(
    tmp_path: Path, repo: Path, repo_env: dict[str, str], tool_server: ToolServer
) -> TinySystem:
    return TinySystem(tmp_path, repo, repo_env, tool_server)


@pytest.fixture
def state_of() -> Callable[[Path], dict]:
    """Weights in a checkpoint."""
    from mmcoseg.compat import load_checkpoint_file

    return lambda path: load_checkpoint_file(str(path))['state_dict']
