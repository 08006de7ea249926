from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from empathetic_train import model as emotion_model
from empathetic_train.errors import CheckpointError, ConfigError
from empathetic_train.model import EmotionModel
from safetensors.torch import load_file
from transformers import AutoModel

from tests.tiny_models import Family

# transformers' DeBERTa still decorates with torch.jit.script.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")

FAMILIES: tuple[Family, ...] = ("bert", "roberta", "deberta")
LABELS = ("anger", "joy", "neutral")
Base = Callable[[Family], Path]


def build(directory: Path | str, *, pooling: str = "mean", dropout: float | None = None) -> EmotionModel:
    torch.manual_seed(0)
    return emotion_model.from_base(str(directory), labels=LABELS, pooling=pooling, dropout=dropout, head_bias=-3.0).eval()


@pytest.mark.parametrize("pooling", ["first", "mean"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_gives_the_same_logits(base: Base, tmp_path: Path, family: Family, pooling: str) -> None:
    model = build(base(family), pooling=pooling)
    model.save(tmp_path)
    ids, mask = torch.tensor([[5, 6, 7, 8]]), torch.ones(1, 4, dtype=torch.long)
    again = emotion_model.load(tmp_path).eval()
    assert again.config.pooling == pooling
    assert torch.equal(again(ids, mask).logits, model(ids, mask).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_nothing(base: Base, family: Family) -> None:
    model = build(base(family))
    pad = model.config.pad_token_id
    alone = model(torch.tensor([[5, 6, 7]]), torch.ones(1, 3, dtype=torch.long)).logits
    padded = model(torch.tensor([[5, 6, 7, pad, pad]]), torch.tensor([[1, 1, 1, 0, 0]])).logits
    assert torch.allclose(alone, padded, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_file_names_what_export_relies_on(base: Base, tmp_path: Path, family: Family) -> None:
    build(base(family)).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["id2label"] == {"0": "anger", "1": "joy", "2": "neutral"}
    assert config["pooling"] == "mean"
    tensors = load_file(tmp_path / "model.safetensors")
    assert {name.partition(".")[0] for name in tensors} == {"encoder", "classifier"}
    assert tensors["classifier.weight"].shape == (3, 32)
    encoder = AutoModel.from_pretrained(base(family)).state_dict()
    kept = {name.removeprefix("encoder.") for name in tensors if name.startswith("encoder.")}
    assert kept <= set(encoder)
    assert not any(name.startswith("pooler") for name in kept)


def test_mean_pooling_is_the_mean_of_the_tokens(bert: Path) -> None:
    model = build(bert)
    ids, mask = torch.tensor([[5, 6, 7, 0]]), torch.tensor([[1, 1, 1, 0]])
    tokens = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.allclose(model(ids, mask).hidden_states, tokens[:, :3].mean(dim=1), atol=1e-6)


def test_first_pooling_is_the_first_token(bert: Path) -> None:
    model = build(bert, pooling="first")
    ids, mask = torch.tensor([[5, 6]]), torch.ones(1, 2, dtype=torch.long)
    tokens = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.equal(model(ids, mask).hidden_states, tokens[:, 0])


def test_dropout_is_set_everywhere(bert: Path) -> None:
    model = build(bert, dropout=0.25)
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.25}


@pytest.mark.parametrize(("family", "tokens"), [("bert", 128), ("roberta", 128), ("deberta", 128)])
def test_the_longest_input_fits(base: Base, family: Family, tokens: int) -> None:
    model = build(base(family))
    assert emotion_model.longest_input(model.config) == tokens
    assert model(torch.full((1, tokens), 7), torch.ones(1, tokens, dtype=torch.long)).logits.shape == (1, 3)


def test_an_average_is_the_mean_of_the_weights(bert: Path, tmp_path: Path) -> None:
    for name, value in (("a", 1.0), ("b", 3.0)):
        model = build(bert)
        torch.nn.init.constant_(model.classifier.weight, value)
        (tmp_path / name).mkdir()
        model.save(tmp_path / name)
    averaged = emotion_model.average([tmp_path / "a", tmp_path / "b"])
    assert averaged.classifier.weight.unique().tolist() == [2.0]


def test_only_like_checkpoints_are_averaged(base: Base, tmp_path: Path) -> None:
    for name, family, pooling in (("a", "bert", "mean"), ("b", "bert", "first"), ("c", "roberta", "mean")):
        (tmp_path / name).mkdir()
        build(base(family), pooling=pooling).save(tmp_path / name)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="labels or pooling differ"):
        emotion_model.average([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(CheckpointError, match="tensors differ"):
        emotion_model.average([tmp_path / "a", tmp_path / "c"])


def test_a_missing_base_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^model_name = '.*absent'"):
        build(tmp_path / "absent")


def test_damaged_weights_are_named(bert: Path, tmp_path: Path) -> None:
    build(bert).save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(CheckpointError, match=tmp_path.name):
        emotion_model.load(tmp_path)


def test_a_base_model_can_come_from_an_installed_package() -> None:
    assert Path(emotion_model.locate("package:empathetic_train")).samefile(Path(emotion_model.__file__).parent)
    assert emotion_model.locate("microsoft/deberta-base") == "microsoft/deberta-base"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("package:no_such_package/model", "'no_such_package' is not installed"),
        ("package:empathetic_train/absent", "has no folder 'absent'"),
        ("package:../x", "not installed"),
        ("package:json.decoder/x", "not installed"),
    ],
)
def test_a_missing_package_is_named(name: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        emotion_model.locate(name)
