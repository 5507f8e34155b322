"""The published Neutral Bank and its confidence."""

import torch

from meshdisent.nn.neutral_bank import NeutralBank, confidence


def test_bank_and_confidence_are_the_published_ones(golden):
    arrays = golden("neutral_bank")
    bank = NeutralBank(5, torch.from_numpy(arrays["init"]), beta=float(arrays["beta"]))
    ours = {"bank_0": bank.entries.clone()}
    for step in range(4):
        bank.update(*(torch.from_numpy(arrays[f"step{step}.{key}"]) for key in ("pid", "vertices")))
        ours[f"step{step}.bank_after"] = bank.entries.clone()
    count = torch.from_numpy(arrays["alpha.count"])
    ours |= {f"alpha.min_count_{shift}": confidence(count, shift=float(shift)) for shift in (1, 5)}
    arrays.check(ours, tolerance=1e-14)
