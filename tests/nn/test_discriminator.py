"""The identity discriminator: order of a pair, both forms, and the input transform."""

import pytest
import torch

from meshdisent.errors import RecipeError
from meshdisent.nn.discriminator import DiscriminatorNetworkConfig, IdentityDiscriminator

NETWORK = DiscriminatorNetworkConfig(channels=(8, 16), hidden=(10, 6))


@pytest.fixture
def discriminator():
    return IdentityDiscriminator(NETWORK)


def test_the_order_of_the_two_faces_matters_and_that_of_the_vertices_does_not(discriminator):
    pairs = torch.randn(3, 80, 6)
    straight = discriminator.plain(pairs)
    torch.testing.assert_close(discriminator.plain(pairs[:, torch.randperm(80)]), straight)
    assert not torch.allclose(discriminator.plain(pairs[:, :, [3, 4, 5, 0, 1, 2]]), straight, atol=1e-3)


def test_correspondence_matters(discriminator):
    pairs = torch.randn(3, 80, 6)
    torn = torch.cat([pairs[:, :, :3], pairs[:, torch.randperm(80), 3:]], dim=2)
    assert not torch.allclose(discriminator.plain(torn), discriminator.plain(pairs), atol=1e-3)


def test_the_transform_begins_near_the_identity(discriminator):
    last = discriminator.transform.head.linears[2]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    pairs = torch.randn(2, 30, 6)
    assert torch.equal(discriminator.transform.plain(pairs), torch.eye(6).expand(2, 6, 6))
    feature = discriminator.features.plain(pairs)
    torch.testing.assert_close(discriminator.plain(pairs), discriminator.head.plain(feature))


def test_the_same_weights_mean_another_function_without_batch_norm(discriminator):
    pairs = torch.randn(4, 30, 6)
    regularized = discriminator.regularized(pairs, torch.ones(4, 6))
    assert not torch.allclose(discriminator.plain(pairs), regularized, atol=1e-2)
    before = {name: buffer.clone() for name, buffer in discriminator.named_buffers()}
    discriminator.plain(pairs)
    assert all(torch.equal(buffer, before[name]) for name, buffer in discriminator.named_buffers())


def test_what_dropout_leaves_out_has_no_say(discriminator):
    pairs, keep = torch.randn(4, 30, 6), torch.ones(4, 6)
    keep[:, 2] = 0
    before = discriminator.regularized(pairs, keep)
    with torch.no_grad():
        discriminator.head.linears[1].weight[2] += 5
    torch.testing.assert_close(discriminator.regularized(pairs, keep), before)
    assert not torch.allclose(discriminator.regularized(pairs, torch.ones(4, 6)), before, atol=1e-3)


@pytest.mark.parametrize(("channels", "hidden"), [((), (4, 4)), ((8, 0), (4, 4)), ((8,), (4,)), ((8,), (4, 4, 4))])
def test_impossible_widths_are_refused(channels, hidden):
    with pytest.raises(RecipeError, match=r"The discriminator has channels .* two of them hidden. Set channels to"):
        DiscriminatorNetworkConfig(channels=channels, hidden=hidden)
