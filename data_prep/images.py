"""Photographs and video frames of faces to images.h5: CelebA, VoxCeleb, RAF-DB, AffectNet, Aff-Wild2, LFW, your own.

Ask for each data set at its makers and unpack it with its lists; what must lie where, and what the crop is by default:

    celeba     img_celeba/000001.jpg, list_eval_partition.txt, identity_CelebA.txt, celeba_crop_bbox.txt         box
    voxceleb   ID/VIDEO/CLIP/0001.jpg                                                                         center
    rafdb      aligned/train_00001_aligned.jpg, list_patition_label.txt                                        whole
    affectnet  Manually_Annotated_Images/FOLDER/NAME.jpg, training.csv, validation.csv                           box
    affwild2   cropped_aligned/VIDEO/00001.jpg, EXPR_Set/Train_Set/VIDEO.txt, EXPR_Set/Validation_Set/VIDEO.txt whole
    lfw        NAME/NAME_0001.jpg, pairs.txt                                                                   whole
    sllfw      the images of lfw, pair_SLLFW.txt                                                               whole
    folder     SUBJECT/*.jpg or SUBJECT/SEQUENCE/*.jpg                                                        center

LatentFace trains its first stage on celeba and its second on voxceleb, at 64 pixels. Its authors found the faces of
VoxCeleb with MTCNN; with boxes of your own detector (CSV: path,left,top,right,bottom) give the crop "detector".

    python data_prep/images.py celeba CELEBA celeba.h5
    python data_prep/images.py voxceleb VOXCELEB voxceleb.h5 detector boxes.csv
"""

import sys
from pathlib import Path

from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.data.images.preparation import prepare_images

if __name__ == "__main__":  # workers import this file again
    layout, raw, out, *crop_and_boxes = sys.argv[1:]
    crop, boxes = [*crop_and_boxes, None, None][:2]
    result = prepare_images(
        layout,
        Path(raw),
        Path(out),
        size=64,  # pixels
        crop=crop,  # None: as above
        boxes=boxes,
        workers=None,  # one a core
        progress=True,
    )
    for line in (*result.remarks, *(f"{r.source}: {r.reason}" for r in result.rejected)):
        print(line)
    for kind, count in result.passed_over.items():
        print(f"passed over: {count} {kind}")
    print(ImageDataset.open(out).summary())
