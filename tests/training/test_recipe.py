"""Recipes: what is read is what was written, and each mistake is named with its key."""

import dataclasses
import sys
import types
from typing import Any, ClassVar, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from meshdisent.errors import RecipeError
from meshdisent.morphable import contract
from meshdisent.training.recipe import Recipe, SamplerConfig, TrainingConfig, differences, read_recipe, write_recipe
from meshdisent.training.typed_yaml import SIZE_LIMIT, parse_yaml
from meshdisent.zoo_index import zoo_names, zoo_variants


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    channels: tuple[int, ...] = (16, 32)
    kind: Literal["spiral", "pointnet"] = "spiral"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToyConfig:
    size: int = 4
    bank: float | None = 0.99
    exact: bool = False
    encoder: EncoderConfig = dataclasses.field(default_factory=EncoderConfig)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise RecipeError(f"size is {self.size}; wanted at least 1.")


class Toy:
    config_class: ClassVar[type] = ToyConfig
    trainable: ClassVar[bool] = True
    watchable: ClassVar[tuple[str, ...]] = ("blur", "noise")


class ClosedForm:
    config_class: ClassVar[type] = ToyConfig
    trainable: ClassVar[bool] = False


@pytest.fixture(autouse=True)
def toy_models(monkeypatch):
    module: Any = types.ModuleType("toy_models")
    module.Toy, module.ClosedForm = Toy, ClosedForm
    monkeypatch.setitem(sys.modules, "toy_models", module)
    monkeypatch.setitem(contract.MODELS, "toy", ("toy_models", "Toy"))
    monkeypatch.setitem(contract.MODELS, "closed", ("toy_models", "ClosedForm"))


def test_the_figure_to_watch_is_one_that_the_model_has(write):
    assert read_recipe(write("model: toy\ntraining: {steps: 5}")).training.watch == "blur"
    assert read_recipe(write("model: toy\ntraining: {steps: 5, watch: noise}")).training.watch == "noise"
    with pytest.raises(RecipeError, match=r"recipe.yaml: training.watch is 'E_avd'; a toy model has blur, noise\."):
        read_recipe(write("model: toy\ntraining: {steps: 5, watch: E_avd}"))


@pytest.fixture
def write(tmp_path):
    def write_text(text: str):
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def test_values_are_filled_by_type_and_the_rest_keeps_its_default(write):
    path = write(
        "model: toy\nseed: 3\nconfig: {size: 8, bank: null, encoder: {channels: [1, 2, 3], kind: pointnet}}\n"
        "training: {steps: 5, learning_rate: 1e-3, betas: [0, 0.5], sampler: {anchors: 2}}\n"
    )
    assert read_recipe(path) == Recipe(
        model="toy",
        seed=3,
        config=ToyConfig(size=8, bank=None, encoder=EncoderConfig(channels=(1, 2, 3), kind="pointnet")),
        training=TrainingConfig(steps=5, learning_rate=1e-3, betas=(0.0, 0.5), sampler=SamplerConfig(anchors=2)),
    )


def test_what_is_written_reads_back_equal_with_every_default_in_the_file(tmp_path):
    training = TrainingConfig(minutes=1 / 3, learning_rate=1e-5, betas=(0.9, 1 / 7))
    recipe = Recipe(model="toy", description="größer: 'ja'", config=ToyConfig(bank=0.1 + 0.2), training=training)
    write_recipe(recipe, tmp_path / "r.yaml")
    assert read_recipe(tmp_path / "r.yaml") == recipe
    written = yaml.safe_load((tmp_path / "r.yaml").read_text(encoding="utf-8"))
    assert set(written["training"]) == {f.name for f in dataclasses.fields(TrainingConfig)}
    assert Recipe.from_plain(recipe.plain(), "card") == recipe


def test_a_closed_form_model_has_no_training_section(write):
    recipe = read_recipe(write("model: closed\n"))
    assert recipe.training is None
    assert "training" not in recipe.plain()
    with pytest.raises(RecipeError, match="training is given, but closed is computed at once"):
        read_recipe(write("model: closed\ntraining: {steps: 3}\n"))


def test_overrides_reach_nested_keys_and_count_together(write):
    path = write("model: toy\ntraining: {minutes: 3}\n")
    recipe = read_recipe(path, ["training.minutes=null", "training.steps=200", "config.encoder.channels=[8]"])
    assert recipe.training == TrainingConfig(steps=200, watch="blur")
    assert recipe.config.encoder.channels == (8,)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.step=3", "--set training.step=3: unknown key 'training.step'. Did you mean 'training.steps'?"),
        ("training.steps", "--set training.steps: wanted KEY=VALUE"),
        ("=3", "wanted KEY=VALUE"),
        ("model.x=3", "model is a value, not a section"),
        ("training.minutes=0", "training: minutes is 0.0; wanted more than 0."),
        ("training.minutes=", "training: neither steps nor minutes is given"),
        ("config.size=[", "--set config.size=[ is not plain YAML"),
    ],
)
def test_a_wrong_override_says_so(write, override, message):
    with pytest.raises(RecipeError) as caught:
        read_recipe(write("model: toy\ntraining: {minutes: 3}\n"), [override])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: toy\nconfg: {}", "unknown key 'confg'. Did you mean 'config'?"),
        ("model: toy\nconfig: {encoder: {chanels: [1]}}", "unknown key 'config.encoder.chanels'. Did you mean 'config"),
        ("model: toyy", "model is 'toyy'. Did you mean 'toy'?"),
        ("seed: 1", "model is None; wanted one of"),
        ("model: toy\nconfig: {size: 1.5}", "config.size is 1.5; wanted a whole number."),
        ("model: toy\nconfig: {size: true}", "config.size is True; wanted a whole number."),
        ("model: toy\nconfig: {size: null}", "config.size is nothing; wanted a whole number."),
        ("model: toy\nconfig: {size: 0}", "config: size is 0; wanted at least 1."),
        ("model: toy\nconfig: {exact: 1}", "config.exact is 1; wanted true or false."),
        ("model: toy\nconfig: {bank: .nan}", "config.bank is nan; wanted a finite number."),
        ("model: toy\nconfig: {bank: often}", "config.bank is 'often'; wanted a finite number."),
        ("model: toy\nconfig: {encoder: 5}", "config.encoder is 5; wanted keys and values."),
        ("model: toy\nconfig: {encoder: {kind: cnn}}", "config.encoder.kind is 'cnn'; wanted one of spiral, pointnet."),
        ("model: toy\nconfig: {encoder: {channels: 5}}", "config.encoder.channels is 5; wanted a list."),
        ("model: toy\nconfig: {encoder: {channels: [1, a]}}", "config.encoder.channels[1] is 'a'; wanted a whole"),
        ("model: toy\ntraining: {steps: 1, betas: [0.9]}", "training.betas is [0.9]; wanted a list of 2 values."),
        ("model: toy\ntraining: {steps: 1, betas: [0.9, 1]}", "training: betas is [0.9, 1.0]; wanted two numbers"),
        ("model: toy\ntraining: {minutes: 0}", "training: minutes is 0.0; wanted more than 0."),
        ("model: toy\ntraining: {steps: 0}", "training: steps is 0; wanted at least 1."),
        ("model: toy\ntraining:\n", "training: neither steps nor minutes is given"),
        ("model: toy\nseed: -1", "seed is -1; wanted at least 0."),
        ("- model", "holds a list at its top; wanted lines of the form 'key: value'."),
        ("", "holds nothing at its top"),
    ],
)
def test_a_wrong_recipe_names_file_key_and_mend(write, text, message):
    with pytest.raises(RecipeError) as caught:
        read_recipe(write(text + "\n"))
    assert "recipe.yaml" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: toy\nmodel: toy", "the key 'model' stands twice"),
        ("model: toy\nconfig: {size: 1, size: 2}", "the key 'size' stands twice"),
        ("model: toy\nconfig: {encoder: &e {}}\ntraining: *e", "an alias"),
        ("model: !!python/object/apply:os.system ['true']", "python/object/apply:os.system"),
        ("model: !foreign toy", "!foreign"),
        ("? [a, b]\n: 1", "a key that is no word"),
        ("model: 2020-13-45", "a value that YAML cannot mean: ValueError"),
        ("seed: " + "9" * 5000, "a value that YAML cannot mean: ValueError"),
        ("model: " + "[" * 5000, "a value that YAML cannot mean: RecursionError"),
        ("model: 'open", "not plain YAML: while scanning a quoted scalar"),
        ("\tmodel: toy", "cannot start any token"),
        ("model: \x07", "special characters are not allowed"),
    ],
)
def test_what_is_not_plain_data_is_refused(write, text, message):
    with pytest.raises(RecipeError) as caught:
        read_recipe(write(text + "\n"))
    assert "recipe.yaml" in str(caught.value)
    assert message in str(caught.value)


def test_a_huge_or_binary_or_absent_recipe_is_refused(tmp_path):
    (tmp_path / "huge.yaml").write_bytes(b"#" * (SIZE_LIMIT + 1))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    messages = {"huge.yaml": "at most 262,144", "binary.yaml": "as text", "none.yaml": "neither a file nor"}
    for name, message in messages.items():
        with pytest.raises(RecipeError, match=message):
            read_recipe(tmp_path / name)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:{}[],-&*!|>'\"#%@`? \n\t0.1e~<="), max_size=40))
def test_any_text_gives_values_or_a_recipe_error(text):
    try:
        parse_yaml(text, "text")
    except RecipeError as error:
        assert str(error).startswith("text ")  # noqa: PT017 - most texts are no mistake


def test_differences_name_the_keys():
    training = TrainingConfig(steps=5)
    one = Recipe(model="toy", config=ToyConfig(), training=training)
    two = dataclasses.replace(one, seed=1, config=ToyConfig(encoder=EncoderConfig(channels=(1,))))
    assert differences(one.plain(), one.plain()) == []
    assert differences(one.plain(), two.plain()) == ["config.encoder.channels", "seed"]


def test_the_default_recipe_of_a_trained_model_trains_for_half_an_hour():
    assert Recipe.default("toy") == Recipe(model="toy", config=ToyConfig(), training=TrainingConfig(minutes=30.0))


# Recipes that start from another one


@pytest.fixture
def files(tmp_path):
    def write_all(**texts: str):
        for name, text in texts.items():
            (tmp_path / f"{name}.yaml").write_text(text + "\n", encoding="utf-8")
        return tmp_path

    return write_all


BASE = "model: toy\nseed: 3\ndescription: below\nconfig: {size: 8, encoder: {channels: [1, 2], kind: pointnet}}\n"


def test_what_a_recipe_says_stands_on_its_base_key_by_key(files, tmp_path):
    files(
        base=BASE + "training: {minutes: 3, learning_rate: 1e-3}",
        variant="base: base.yaml\nconfig: {bank: null, encoder: {channels: [9]}}\ntraining: {minutes: 5}",
    )
    recipe = read_recipe(tmp_path / "variant.yaml", ["seed=4"])
    assert recipe == Recipe(
        model="toy",
        seed=4,
        description="below",
        config=ToyConfig(size=8, bank=None, encoder=EncoderConfig(channels=(9,), kind="pointnet")),
        training=TrainingConfig(minutes=5.0, learning_rate=1e-3),
    )
    write_recipe(recipe, tmp_path / "resolved.yaml")
    assert "base" not in yaml.safe_load((tmp_path / "resolved.yaml").read_text())
    assert read_recipe(tmp_path / "resolved.yaml") == recipe


def test_what_is_no_mapping_replaces_a_mapping(files):
    folder = files(base=BASE, variant="base: base.yaml\nconfig:\ntraining: {steps: 2}")
    assert read_recipe(folder / "variant.yaml").config == ToyConfig()


def test_bases_may_have_bases_and_lie_in_other_folders(files, tmp_path):
    files(first=BASE + "training: {steps: 1}", second="base: first.yaml\nseed: 5")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "third.yaml").write_text("base: ../second.yaml\nconfig: {size: 9}\n")
    recipe = read_recipe(tmp_path / "below" / "third.yaml")
    assert (recipe.seed, recipe.config.size, recipe.config.encoder.kind) == (5, 9, "pointnet")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"a": "base: a.yaml"}, "its base leads back to where it came from: {f}/a.yaml -> {f}/a.yaml. Take one"),
        ({"a": "base: b.yaml", "b": "base: ./a.yaml"}, "came from: {f}/a.yaml -> {f}/b.yaml -> {f}/a.yaml. Take one"),
        ({"a": "base: no.yaml"}, "{f}/a.yaml: its base no.yaml is neither a file beside it nor a recipe of the zoo."),
        ({"a": "base: wsdf-quik"}, "its base wsdf-quik is neither a file beside it nor a recipe of the zoo. Did you"),
        ({"a": "base: wsdf-published/bnk"}, "Did you mean 'wsdf-published/bank'? Variants of wsdf-published: wsdf-pub"),
        ({"a": "base: /etc/passwd"}, "base is '/etc/passwd'; wanted a name of the zoo, or a file relative to this"),
        ({"a": "base: [b.yaml]"}, "base is ['b.yaml']; wanted a name of the zoo"),
        ({"a": "base:"}, "base is None; wanted a name of the zoo"),
        ({"a": "base: b.yaml", "b": "- x"}, "{f}/b.yaml holds a list at its top"),
        (
            {"a": "base: b.yaml\nconfig: {siez: 3}", "b": "model: toy\ntraining: {steps: 1}"},
            "{f}/a.yaml based on {f}/b.yaml: unknown key 'config.siez'. Did you mean 'config.size'?",
        ),
    ],
)
def test_a_base_that_cannot_be_used_is_named(files, texts, message):
    folder = files(**texts)
    with pytest.raises(RecipeError) as caught:
        read_recipe(folder / "a.yaml")
    assert message.replace("{f}", str(folder)) in str(caught.value)
    assert "\n" not in str(caught.value)


# Variants in the zoo


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A zoo of one model with two variants, a secret file beside them."""
    import meshdisent.zoo_index as index

    folder = tmp_path / "zoo"
    (folder / "toy-1" / "variants").mkdir(parents=True)
    (folder / "secret.yaml").write_text("model: toy\ntraining: {steps: 1}\n")
    (folder / "toy-1" / "recipe.yaml").write_text(BASE + "training: {minutes: 1}\n")
    for name, size in (("wide", 32), ("narrow", 2)):
        (folder / "toy-1" / "variants" / f"{name}.yaml").write_text(f"base: toy-1\nconfig: {{size: {size}}}\n")
    monkeypatch.setattr(index, "zoo_folder", lambda: folder)
    return folder


def test_a_name_with_a_slash_is_a_variant(zoo):
    assert zoo_names() == ["toy-1"]
    assert zoo_variants("toy-1") == ["toy-1/narrow", "toy-1/wide"]
    assert zoo_variants("toy-2") == []
    assert read_recipe("toy-1/wide").config.size == 32
    assert read_recipe("toy-1/narrow").training.minutes == 1.0


@pytest.mark.parametrize(
    "name", ["toy-1/../secret", "toy-1/variants/../../secret", "../zoo/secret", "/toy-1/wide", "toy-1//wide", "toy-1/*"]
)
def test_no_name_leads_out_of_the_zoo(zoo, name):
    with pytest.raises(RecipeError, match="is neither a file nor a recipe of the zoo"):
        read_recipe(name)
    assert zoo_variants(name) == zoo_variants("..") == zoo_variants("/") == []


def test_an_unknown_variant_names_the_nearest(zoo):
    with pytest.raises(RecipeError) as caught:
        read_recipe("toy-1/wid")
    assert str(caught.value) == (
        "toy-1/wid is neither a file nor a recipe of the zoo. Did you mean 'toy-1/wide'? "
        "Variants of toy-1: toy-1/narrow, toy-1/wide."
    )


def test_the_ablation_of_the_paper_adds_one_term_a_row():
    weights = {}
    for name in ("baseline", "bank", "jacobian", "compactness"):
        recipe = read_recipe(f"wsdf-published/{name}")
        loss = recipe.config.loss
        assert (loss.reconstruction, loss.kl, loss.jacobian_upper) == (1.0, 0.0456, 22.8)
        assert (recipe.training.minutes, recipe.training.learning_rate) == (20.0, 1e-4)
        weights[name] = (loss.neutral, loss.jacobian, loss.compactness)
        changed = differences(read_recipe("wsdf-published").plain(), recipe.plain())
        assert {key for key in changed if not key.startswith("config.loss.")} == {
            "description",
            "training.learning_rate",
            "training.minutes",
            "training.threads",
        }
    assert weights == {
        "baseline": (0.0, 0.0, 0.0),
        "bank": (1.0, 0.0, 0.0),
        "jacobian": (1.0, 10.0, 0.0),
        "compactness": (1.0, 10.0, 0.456),
    }
