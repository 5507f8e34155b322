r"""The five networks of LatentFace's first stage: image in; shape, texture, light, view and confidence out.

.. math:: (z_s, d) = D(I), \quad (z_t, a) = A(I), \quad l = L(I), \quad v = V(I), \quad \sigma = C(I)

Shape and texture are encoder and decoder around a code; light and view are a few numbers; confidence is a map for
pixels and one for features, of the plain and of the mirrored reconstruction. The layers are those of the published
code, which its papers describe only roughly: group norm, not batch norm; no convolution has a bias. Images are RGB in
[-1, 1]. A stage halves or doubles the size; :math:`\log_2 S - 2` of them lie between an image of S pixels and 4 pixels.
The published code shares the weights of extra stages from 256 pixels on;
here each has its own. Weights begin as torch draws them.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from meshdisent.errors import DataError, RecipeError

#: How many numbers a light has: ambient, diffuse, and the direction's x and y.
LIGHT_SIZE = 4
#: How many numbers a view has: turns about x, y and z, and shifts along them.
VIEW_SIZE = 6


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Sizes of the five networks; the defaults are the published ones.

    Parameters
    ----------
    image_size : Pixels a side: 64 or 128 in the papers; any power of two from 32 on.
    width : Channels of the first stage of shape and texture.
    code_size : Entries of a shape code and of a texture code.
    number_width : Channels of the first stage of light and view.
    confidence_width, confidence_code_size : The same of the confidence network.
    norm_groups : Groups of the first group norm; twice and four times as many where there are twice and four times the
        channels (published: 16). If not given, 4 channels a group, which is the same at the published widths; 2 or 1
        where 4 does not divide them.

    Raises
    ------
    RecipeError : If the image size is no power of two from 32 on, another number is below 1, or the groups do not
        divide the widths.
    """

    image_size: int = 64
    width: int = 64
    code_size: int = 256
    number_width: int = 32
    confidence_width: int = 64
    confidence_code_size: int = 128
    norm_groups: int | None = None

    def __post_init__(self) -> None:
        if self.image_size < 32 or self.image_size & (self.image_size - 1):
            raise RecipeError(
                f"image_size is {self.image_size}; wanted a power of two from 32 on. Set image_size to 64 or 128."
            )
        for name in ("width", "code_size", "number_width", "confidence_width", "confidence_code_size"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; wanted at least 1. Set {name}.")
        groups = self.norm_groups
        if groups is not None and (groups < 1 or self.width % groups or self.confidence_width % groups):
            raise RecipeError(
                f"norm_groups is {groups}; wanted a number that divides width {self.width} and confidence_width "
                f"{self.confidence_width}, such as 16 for 64. Leave norm_groups out for 4 channels a group."
            )

    def group_size(self, width: int) -> int:
        """Channels of a norm's group in a network of this width."""
        return 4 if self.norm_groups is None else width // self.norm_groups


def shape_network(config: NetworkConfig) -> "MapNetwork":
    """Shape (netD of the published code): a code and raw depth, on which no activation acts."""
    return MapNetwork(config, 1, nn.Identity())


def texture_network(config: NetworkConfig) -> "MapNetwork":
    """Texture (netA): a code and an albedo in [-1, 1]."""
    return MapNetwork(config, 3, nn.Tanh())


def light_network(config: NetworkConfig) -> "NumberEncoder":
    """Light (netL): ambient, diffuse and direction x, y, each in [-1, 1]."""
    return NumberEncoder(config, LIGHT_SIZE)


def view_network(config: NetworkConfig) -> "NumberEncoder":
    """View (netV): turns about and shifts along x, y, z, each in [-1, 1]."""
    return NumberEncoder(config, VIEW_SIZE)


class MapNetwork(nn.Module):
    """An image's code, and the map that is decoded from it.

    Parameters
    ----------
    config : Sizes.
    channels : Of the map.
    activation : What the map ends with.

    Examples
    --------
    >>> code, depth = shape_network(NetworkConfig(image_size=32, width=4, code_size=8))(torch.zeros(2, 3, 32, 32))
    >>> code.shape, depth.shape
    (torch.Size([2, 8]), torch.Size([2, 1, 32, 32]))
    """

    def __init__(self, config: NetworkConfig, channels: int, activation: nn.Module):
        super().__init__()
        self.encoder = FeatureEncoder(config)
        self.decoder = MapDecoder(config, channels, activation)

    def forward(
        self, image: Float[Tensor, "batch 3 size size"]
    ) -> tuple[Float[Tensor, "batch code"], Float[Tensor, "batch channel size size"]]:
        """The code, at least 0, and the map."""
        code = self.encoder(image)
        return code, self.decoder(code)


class FeatureEncoder(nn.Module):
    """From an image to its code, which ends with a ReLU: entries are at least 0 and have no upper limit."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.image_size = config.image_size
        group = config.group_size(config.width)
        self.layers = nn.Sequential(*_encoding(config.image_size, config.width, config.code_size, group))

    def forward(self, image: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch code"]:
        """Codes of images in [-1, 1]."""
        check_image_size(image, self.image_size)
        return self.layers(image).flatten(start_dim=1)  # (B, C, 1, 1) -> (B, C)


class MapDecoder(nn.Module):
    """From a code to a map; the last doubling copies pixels, because a transposed convolution leaves a grid."""

    def __init__(self, config: NetworkConfig, channels: int, activation: nn.Module):
        super().__init__()
        first, *widths = _decoder_widths(config.image_size, config.width)
        last, group = config.width, config.group_size(config.width)
        layers = [_grow(config.code_size, first), nn.ReLU(), _conv(first, first, 3), nn.ReLU()]
        for channels_in, channels_out in pairwise([first, *widths]):
            layers += _normed(_double(channels_in, channels_out), group)
            layers += _normed(_conv(channels_out, channels_out, 3), group)
        layers += [nn.Upsample(scale_factor=2, mode="nearest"), *_normed(_conv(last, last, 3), group)]
        layers += [*_normed(_conv(last, last, 5), group), _conv(last, channels, 5), activation]
        self.layers = nn.Sequential(*layers)

    def forward(self, code: Float[Tensor, "batch code"]) -> Float[Tensor, "batch channel size size"]:
        """Maps of codes."""
        return self.layers(code[:, :, None, None])


class NumberEncoder(nn.Module):
    """From an image to a few numbers in [-1, 1], without any norm.

    Examples
    --------
    >>> light_network(NetworkConfig(image_size=32, number_width=4))(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 4])
    """

    def __init__(self, config: NetworkConfig, count: int):
        super().__init__()
        self.image_size = config.image_size
        widths = _encoder_widths(config.image_size, config.number_width)
        layers: list[nn.Module] = []
        for channels_in, channels_out in pairwise([3, *widths]):
            layers += [_halve(channels_in, channels_out), nn.ReLU()]
        layers += [_shrink(widths[-1], widths[-1]), nn.ReLU(), _conv(widths[-1], count, 1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch number"]:
        """Numbers of images in [-1, 1]."""
        check_image_size(image, self.image_size)
        return self.layers(image).flatten(start_dim=1)


class ConfidenceNetwork(nn.Module):
    """How far each pixel, and each place of a feature map a quarter the size, may be off (netC); positive.

    Channel 0 is for the plain reconstruction, channel 1 for the mirrored one.

    Examples
    --------
    >>> network = ConfidenceNetwork(NetworkConfig(image_size=32, confidence_width=4))
    >>> [tuple(sigma.shape) for sigma in network(torch.zeros(2, 3, 32, 32))]
    [(2, 2, 32, 32), (2, 2, 8, 8)]
    """

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.image_size = config.image_size
        width, code_size = config.confidence_width, config.confidence_code_size
        group = config.group_size(width)
        first, *widths = _decoder_widths(config.image_size, width)[:-1]
        trunk = [*_encoding(config.image_size, width, code_size, group), _grow(code_size, first), nn.ReLU()]
        for channels_in, channels_out in pairwise([first, *widths]):
            trunk += _normed(_double(channels_in, channels_out), group)
        self.trunk = nn.Sequential(*trunk)
        pixels = [*_normed(_double(2 * width, width), group), *_normed(_double(width, width), group)]
        self.pixel_head = nn.Sequential(*pixels, _conv(width, 2, 5), nn.Softplus())
        self.feature_head = nn.Sequential(_conv(2 * width, 2, 3), nn.Softplus())

    def forward(
        self, image: Float[Tensor, "batch 3 size size"]
    ) -> tuple[Float[Tensor, "batch 2 size size"], Float[Tensor, "batch 2 quarter quarter"]]:
        """Scales of the errors of pixels, then of features."""
        check_image_size(image, self.image_size)
        features = self.trunk(image)
        return self.pixel_head(features), self.feature_head(features)


def check_image_size(image: Float[Tensor, "batch channel height width"], image_size: int) -> None:
    """Refuse images of another size.

    Raises
    ------
    DataError : If they are not square with ``image_size`` pixels a side.
    """
    height, width = image.shape[-2:]
    if (height, width) != (image_size, image_size):
        raise DataError(
            f"The image has {height} x {width} pixels; this network was built for {image_size} x {image_size}. "
            "Resize the image."
        )


def _encoder_widths(image_size: int, width: int) -> list[int]:
    """Channels after each halving, down to 4 pixels: w, 2w, 4w, 8w, and 8w for every further one."""
    stages = int(math.log2(image_size)) - 2
    return [width * min(2**stage, 8) for stage in range(stages)]


def _decoder_widths(image_size: int, width: int) -> list[int]:
    """Channels at 4 pixels and after each doubling but the last: 8w, 4w for every further one, 4w, 2w, w."""
    *rest, last = _encoder_widths(image_size, width)
    return [last, *(min(channels, 4 * width) for channels in reversed(rest))]


def _encoding(image_size: int, width: int, code_size: int, group: int) -> list[nn.Module]:
    """From an image to a code on one pixel."""
    widths = _encoder_widths(image_size, width)
    layers: list[nn.Module] = []
    for stage, (channels_in, channels_out) in enumerate(pairwise([3, *widths])):
        norm = [_norm(channels_out, group)] if stage < 3 else []
        layers += [_halve(channels_in, channels_out), *norm, nn.LeakyReLU(0.2)]
    return [*layers, _shrink(widths[-1], code_size), nn.ReLU()]


def _normed(layer: nn.Conv2d | nn.ConvTranspose2d, group: int) -> list[nn.Module]:
    return [layer, _norm(layer.out_channels, group), nn.ReLU()]


def _norm(channels: int, group: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // math.gcd(channels, group), channels)


def _halve(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel_size=4, stride=2, padding=1, bias=False)


def _double(channels_in: int, channels_out: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels_in, channels_out, kernel_size=4, stride=2, padding=1, bias=False)


def _shrink(channels_in: int, channels_out: int) -> nn.Conv2d:
    """From 4 x 4 pixels to one."""
    return nn.Conv2d(channels_in, channels_out, kernel_size=4, bias=False)


def _grow(channels_in: int, channels_out: int) -> nn.ConvTranspose2d:
    """From one pixel to 4 x 4."""
    return nn.ConvTranspose2d(channels_in, channels_out, kernel_size=4, bias=False)


def _conv(channels_in: int, channels_out: int, size: int) -> nn.Conv2d:
    """Without change of the size."""
    return nn.Conv2d(channels_in, channels_out, kernel_size=size, padding=size // 2, bias=False)
