"""A plugin: once installed, its classes can be named in any config of mmcoseg."""

from setuptools import setup

setup(
    name='mmcoseg-example',
    version='0.1.0',
    description='Example of a plugin for mmcoseg',
    license='Apache-2.0',
    packages=['mmcoseg_example'],
    python_requires='>=3.10',
    install_requires=['mmcoseg'],
    # mmcoseg imports this module when it first looks a name up.
    entry_points={'mmcoseg.plugins': ['example = mmcoseg_example']},
)
