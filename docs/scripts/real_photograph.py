"""Draw the picture of docs/fitting-images.md: python docs/scripts/real_photograph.py PHOTOGRAPH FACE_LANDMARKER.TASK

PHOTOGRAPH is NASA's portrait of Eileen Collins, in the public domain, as scikit-image has it in its folder `data`
(`astronaut.png`, 512 x 512 pixels); the other file is mediapipe's (`pip install "meshdisent[image,landmarks]"`). Above
what `meshdisent fit wsdf-ict` makes of it, below what `meshdisent image latentface-rendered` does. Prints the evidence.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from pictures import keep
from PIL import Image

from meshdisent.cli.main import main
from meshdisent.show.sheets import sheet

SIZE = 224
FITTED = {"photo": "photograph", "fitted": "fitted", "overlay": "overlay", "shape": "shape", "turned": "its skin"}
TAKEN_APART = {
    "photo": "what is looked at",
    "rebuilt": "rebuilt",
    "frontal": "from in front",
    "depth": "depth",
    "shape": "shape",
}


def shown(folder: Path, names: dict[str, str], resampling: Image.Resampling) -> list[np.ndarray]:
    """Pictures of a folder, all of one size."""
    pictures = (Image.open(folder / f"{name}.png").convert("RGB") for name in names)
    return [np.asarray(picture.resize((SIZE, SIZE), resampling)) for picture in pictures]


if __name__ == "__main__":
    photo, landmarker = sys.argv[1:]
    with tempfile.TemporaryDirectory() as place:
        fitted, apart = Path(place) / "fitted", Path(place) / "apart"
        for verb, model, out in (("fit", "wsdf-ict", fitted), ("image", "latentface-rendered", apart)):
            if main([verb, model, photo, "--detector", landmarker, "--out", str(out)]):
                sys.exit(f"{verb} failed")
        print(json.dumps(json.loads((fitted / "fit.json").read_text())[Path(photo).stem]["evidence"], indent=1))
        name = Path(photo).stem
        rows = [
            shown(fitted / name, FITTED, Image.Resampling.BICUBIC),
            shown(apart / name, TAKEN_APART, Image.Resampling.NEAREST),
        ]
    page = sheet(rows, below=[list(FITTED.values()), list(TAKEN_APART.values())])
    keep("real-photograph", page, width=page.shape[1], colors=256)
