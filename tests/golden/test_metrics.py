"""The published metrics on small arrays."""

import numpy as np

from meshdisent import metrics

READINGS = {
    "reported": metrics.spread_a,
    "rms_variant": metrics.spread_b,
    "drl_variant": metrics.spread_drl,
    "std_per_vertex_then_mean": metrics.spread_per_vertex,
}


def test_metrics_are_the_published_numbers(golden):
    arrays = golden("metrics")
    subject = arrays["subject"]
    per_scan = {
        "E_avd": metrics.e_avd(arrays["reconstruction"], arrays["target"]),
        "E_neu": metrics.e_neu(arrays["neutralised"], arrays["neutral_gt"], subject),
    }
    ours = {f"{name}.per_scan": values for name, values in per_scan.items()}
    summaries = dict(per_scan)
    for name, faces, group in (
        ("E_id", arrays["neutralised"], subject),
        ("E_exp", arrays["expression_only"], arrays["expression_label"]),
    ):
        for reading, spread in READINGS.items():
            groups, values = spread(faces, group)
            ours[f"{name}.groups"] = groups
            ours[f"{name}.{reading}.per_group"] = values
            if reading in ("reported", "drl_variant"):
                summaries[f"{name}.{reading}"] = values
    for name, values in summaries.items():
        figures = metrics.summary(values)
        ours |= {f"{name}.mean": np.array(figures["mean"]), f"{name}.median": np.array(figures["median"])}
    arrays.check(ours, tolerance=1e-13)
