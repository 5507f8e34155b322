"""VGG16 up to its seventh convolution (relu3_3): features that pictures are compared by.

Simonyan and Zisserman 2015, configuration D. The weights are trained on ImageNet, are not part of this package, and are
never fetched: give the file that torchvision publishes, ``vgg16-397923af.pth``, or any file of the same tensors.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshdisent.errors import ModelFileError

#: Channels of the seven convolutions; a pool stands before the third and the fifth.
WIDTHS = (64, 64, 128, 128, 256, 256, 256)
#: Mean and deviation of ImageNet's colors in 0 .. 1, which the weights expect to be taken out.
_COLOR_MEAN, _COLOR_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGGFeatures(nn.Module):
    """relu3_3 of VGG16: pictures in -1 .. 1 to features of a quarter of their size. Frozen.

    Parameters
    ----------
    widths : Channels of the seven convolutions; the published ones unless a test has smaller ones.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS):
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for number, width in enumerate(widths):
            if number in (2, 4):
                layers.append(nn.MaxPool2d(2))
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
            before = width
        self.layers = nn.Sequential(*layers)
        self.mean: Tensor
        self.deviation: Tensor
        self.feature_size = before
        self.register_buffer("mean", torch.tensor(_COLOR_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(_COLOR_DEVIATION)[:, None, None], persistent=False)
        self.requires_grad_(False)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], where: str) -> "VGGFeatures":
        """The network with the tensors of torchvision's VGG16, named ``features.0.weight`` and so on.

        Raises
        ------
        ModelFileError : If a tensor is missing or has another shape; ``where`` names the file.
        """
        features = cls()
        wanted = features.layers.state_dict()
        missing = [f"features.{name}" for name in wanted if f"features.{name}" not in state]
        if missing:
            raise ModelFileError(
                f"{where} lacks {missing[0]} ({len(missing)} of {len(wanted)} tensors are missing); wanted the weights "
                "of VGG16 as torchvision publishes them, vgg16-397923af.pth."
            )
        found = {name: state[f"features.{name}"] for name in wanted}
        for name, tensor in wanted.items():
            if found[name].shape != tensor.shape:
                raise ModelFileError(
                    f"{where}: features.{name} has shape {tuple(found[name].shape)}; VGG16 has {tuple(tensor.shape)}."
                )
        features.layers.load_state_dict(found)
        return features

    def forward(self, pictures: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch feature h w"]:
        """Features (B, 256, H/4, W/4) of pictures in -1 .. 1."""
        return self.layers((pictures / 2 + 0.5 - self.mean) / self.deviation)
