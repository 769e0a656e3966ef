"""Object proposals of an image in little memory."""

import cv2
import torch
from mmengine.structures import InstanceData
from torch import Tensor

__all__ = ['ProposalData']


class ProposalData(InstanceData):
    """Proposals as unions of *atoms*, regions of the image that no mask divides.

    What is indexed is still of this kind; ``masks`` are only made when asked for, so ask for those
    of the few that are wanted: ``proposals[indices].masks``.

    Metainfo: ``atoms`` (h, w) int32 array, the atom of each pixel of the image at any size;
    ``size`` (H, W), that of the masks, normally ``ori_shape``; without it that of the atoms.

    Fields: ``members`` (n, a) bool array, which atoms each mask is made of; ``scores`` (n,)
    float32.

    Example:
        >>> import numpy as np
        >>> data = ProposalData(metainfo=dict(atoms=np.array([[0, 1, 1], [0, 0, 2]])))
        >>> data.members = np.array([[True, False, True], [False, True, False]])
        >>> data.scores = torch.tensor([0.9, 0.4])
        >>> data[torch.tensor([1])].masks.int()
        tensor([[[0, 1, 1],
                 [0, 0, 0]]], dtype=torch.int32)
    """

    @property
    def masks(self) -> Tensor:
        """(n, H, W) bool, on the device of ``scores``."""
        atoms, size = self.atoms, tuple(self.metainfo.get('size', self.atoms.shape))
        if atoms.shape != size:
            atoms = cv2.resize(atoms, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        masks = torch.from_numpy(self.members[:, atoms])
        return masks.to(self.scores.device)
