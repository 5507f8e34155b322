"""The published order of training scans."""

import numpy as np

from meshdisent.data.sampling import IdentityAwareSampler


def test_batches_are_the_published_ones(golden):
    arrays = golden("sampler")
    ours = {}
    for case in ("dev", "small", "small_droplast"):
        sampler = IdentityAwareSampler(
            arrays[f"{case}.subject_of_sample"],
            anchors=int(arrays[f"{case}.batch_size"]),
            seed=int(arrays[f"{case}.seed"]),
            drop_last=case.endswith("droplast"),
        )
        ours[f"{case}.steps_per_epoch"] = sampler.steps_per_epoch
        epochs = [list(sampler) for _ in range(2)]
        longest = max(len(batch) for epoch in epochs for batch in epoch)
        ours[f"{case}.batches"] = [
            [np.pad(batch, (0, longest - len(batch)), constant_values=-1) for batch in epoch] for epoch in epochs
        ]
    arrays.check(ours)
