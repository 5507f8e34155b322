"""One model, one dataset, all numbers, beside what needs no network."""
