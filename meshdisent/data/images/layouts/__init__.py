"""How image data sets lie on disk: one file a layout, found by name; a new one is one file and one line here."""

from meshdisent.data.images.layouts.affectnet import AffectnetLayout
from meshdisent.data.images.layouts.affwild2 import Affwild2Layout
from meshdisent.data.images.layouts.base import Box, ImageLayout, ImageListing, ImageRecord, PairRecord
from meshdisent.data.images.layouts.celeba import CelebaLayout
from meshdisent.data.images.layouts.folder import ImageFolderLayout
from meshdisent.data.images.layouts.lfw import LfwLayout
from meshdisent.data.images.layouts.rafdb import RafdbLayout
from meshdisent.data.images.layouts.sllfw import SllfwLayout
from meshdisent.data.images.layouts.voxceleb import VoxcelebLayout

__all__ = [
    "IMAGE_LAYOUTS",
    "AffectnetLayout",
    "Affwild2Layout",
    "Box",
    "CelebaLayout",
    "ImageFolderLayout",
    "ImageLayout",
    "ImageListing",
    "ImageRecord",
    "LfwLayout",
    "PairRecord",
    "RafdbLayout",
    "SllfwLayout",
    "VoxcelebLayout",
]

#: The layouts by the name that :func:`~meshdisent.data.images.preparation.prepare_images` takes.
IMAGE_LAYOUTS: dict[str, type[ImageLayout]] = {
    layout.name: layout
    for layout in (
        ImageFolderLayout,
        CelebaLayout,
        VoxcelebLayout,
        RafdbLayout,
        AffectnetLayout,
        Affwild2Layout,
        LfwLayout,
        SllfwLayout,
    )
}
