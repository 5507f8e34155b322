"""The encoder of principal coordinates against plain products, and its settings."""

import pytest
import torch

from meshdisent.errors import RecipeError
from meshdisent.nn.principal_encoder import PrincipalEncoder, PrincipalEncoderConfig


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def encoder():
    """Five coordinates of a scan of seven vertices, two layers between, codes of three and two entries."""
    return PrincipalEncoder(drawn(21), drawn(5, 21, seed=1), (6, 8), 3, 2).double()


def test_codes_come_from_the_coordinates_through_the_layers(encoder):
    scans = drawn(4, 7, 3, seed=2)
    features = torch.stack([encoder.directions @ (scan.flatten() - encoder.center) for scan in scans])
    for layer in (0, 2):
        features = features @ encoder.trunk[layer].weight.T + encoder.trunk[layer].bias
        features = features / (1 + torch.exp(-features))
    out = features @ encoder.head.weight.T + encoder.head.bias
    (identity, identity_spread), (expression, expression_spread) = encoder(scans)
    for found, start, stop in (
        (identity, 0, 3),
        (expression, 3, 5),
        (identity_spread, 5, 8),
        (expression_spread, 8, 10),
    ):
        torch.testing.assert_close(found, out[:, start:stop])
    assert len(encoder.trunk) == 4
    assert [encoder.trunk[0].weight.shape, encoder.trunk[2].weight.shape] == [(6, 5), (8, 6)]


def test_without_layers_between_codes_are_linear_in_the_scan():
    encoder = PrincipalEncoder(drawn(21), drawn(5, 21, seed=1), (), 3, 2).double()
    one, two, three = (encoder(drawn(1, 7, 3, seed=seed))[0][0] for seed in (2, 3, 4))
    mixed = encoder(drawn(1, 7, 3, seed=2) + drawn(1, 7, 3, seed=3) - drawn(1, 7, 3, seed=4))[0][0]
    torch.testing.assert_close(mixed, one + two - three)


def test_a_silent_encoder_says_the_same_of_every_scan_until_it_learns(encoder):
    encoder.silence(-3.5)
    scans = 100 * drawn(4, 7, 3, seed=2)
    for mean, log_variance in encoder(scans):
        assert (mean == 0).all()
        assert (log_variance == -3.5).all()
    (identity, _), (expression, _) = encoder(scans)
    (identity.sum() + expression.sum()).backward()
    assert (encoder.head.weight.grad[:5] != 0).all(), "the last layer can move at once"


def test_gradients_are_those_of_finite_differences(encoder):
    assert torch.autograd.gradcheck(lambda scans: sum(encoder(scans), ()), drawn(2, 7, 3, seed=2).requires_grad_())
    sum(part.square().sum() for part in sum(encoder(drawn(3, 7, 3, seed=3)), ())).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-6, name


def test_coordinates_are_kept_with_the_weights_and_are_not_trained(encoder):
    assert {"center", "directions"} <= encoder.state_dict().keys()
    assert not {"center", "directions"} & {name for name, _ in encoder.named_parameters()}
    center = torch.zeros(21)
    made = PrincipalEncoder(center, torch.zeros(5, 21), (6,), 3, 2)
    center += 1
    assert (made.center == 0).all(), "a copy of its own"


def test_impossible_sizes_are_refused():
    for wrong in ({"components": 0}, {"hidden": (512, 0)}):
        with pytest.raises(
            RecipeError, match=r"components and hidden widths.*wanted positive numbers. Set config\.prin"
        ):
            PrincipalEncoderConfig(**wrong)
    with pytest.raises(RecipeError, match=r"has 0 components and hidden widths \[3\]"):
        PrincipalEncoderConfig(components=0, hidden=(3,))
