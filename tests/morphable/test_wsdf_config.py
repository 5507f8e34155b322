"""The choices of WSDF: what is refused, and what comes back from a file."""

import dataclasses
import json

import pytest

from meshdisent.errors import RecipeError
from meshdisent.morphable.linear_start import LinearStartConfig
from meshdisent.morphable.wsdf_config import BankConfig, HierarchyConfig, LossConfig, PeopleConfig, WSDFConfig
from meshdisent.nn.principal_encoder import PrincipalEncoderConfig

#: What a model needs that trains on synthetic people alone.
PEOPLE = {
    "people": PeopleConfig(share=1.0),
    "linear_start": LinearStartConfig(neutrals="mean"),
    "bank": BankConfig(start="mean"),
}


def test_plain_values_give_the_configuration_back(tiny_config):
    odd = dataclasses.replace(
        tiny_config["wsdf"],
        hidden=(5, 6, 7),
        exact_recoupler=True,
        bank=BankConfig(start="mode", beta=1.0),
        loss=LossConfig(space="millimeters", pairing="published"),
        linear_start=LinearStartConfig(
            neutrals="mode", mirrored=True, expressions="carried", learned_from="people", networks_change="expression"
        ),
        encoders="principal",
        principal=PrincipalEncoderConfig(components=7, hidden=(5, 6)),
        people=PeopleConfig(share=0.5, tail=False),
    )
    assert WSDFConfig.from_plain(json.loads(json.dumps(dataclasses.asdict(odd)))) == odd


def test_impossible_settings_are_refused():
    with pytest.raises(RecipeError, match=r"jacobian_lower is 5.0 and jacobian_upper 5.0; wanted lower < upper"):
        LossConfig(jacobian_lower=5.0, jacobian_upper=5.0)
    with pytest.raises(RecipeError, match=r"group is 0; wanted at least 1"):
        LossConfig(group=0)
    with pytest.raises(RecipeError, match=r"fused_size is 0; wanted at least 1. Set config.fused_size"):
        WSDFConfig(fused_size=0)
    with pytest.raises(RecipeError, match=r"factors has fewer than 2 entries"):
        WSDFConfig(hierarchy=HierarchyConfig(factors=(4.0,)))
    with pytest.raises(RecipeError, match=r"mixing is 0.5 with a bank that starts from mean_scan.*config.bank.start"):
        WSDFConfig(mixing=0.5)
    for share in (-0.1, 1.1):
        with pytest.raises(RecipeError, match=rf"people\.share is {share}; wanted 0 to 1"):
            PeopleConfig(share=share)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixing": 0.5}, r"mixing and people\.share are both set; wanted one of them\. Set config\.mixing to 0"),
        (
            {"bank": BankConfig()},
            r"people\.share is 1\.0 with a bank that starts from mean_scan.*config\.bank\.start to mode",
        ),
        (
            {"linear_start": LinearStartConfig()},
            r"Synthetic people stand on a linear start, which is off\. Set config\.linear",
        ),
        (
            {"people": PeopleConfig(share=0.75), "loss": LossConfig(consistency=2.0)},
            r"loss\.consistency is 2\.0 with people\.share 0\.75; wanted a share of 1.*config\.loss\.consistency to 0",
        ),
    ],
)
def test_what_synthetic_people_need_is_asked_for(changes, message):
    WSDFConfig(**PEOPLE)
    with pytest.raises(RecipeError, match=message):
        WSDFConfig(**PEOPLE | changes)


@pytest.mark.parametrize("choice", [{"expressions": "carried"}, {"learned_from": "people"}])
def test_choices_of_a_linear_start_that_need_people_are_refused_without_one(choice):
    assert WSDFConfig(linear_start=LinearStartConfig(neutrals="mode", **choice)).needs_people
    assert not WSDFConfig(linear_start=LinearStartConfig(neutrals="mode")).needs_people
    message = (
        r"which is off.*linear_start\.neutrals to mode.*people\.share to 0.*expressions to added.*learned_from to scans"
    )
    with pytest.raises(RecipeError, match=message):
        WSDFConfig(linear_start=LinearStartConfig(**choice))
