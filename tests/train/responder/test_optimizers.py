from __future__ import annotations

import copy

import pytest
import torch
from empathetic_train.responder import model
from empathetic_train.responder.config import ResponderConfig
from empathetic_train.responder.optimizers import build_optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

NAMES = ("muon", "adamw")


@pytest.fixture
def built(config: ResponderConfig, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    return model.build(config, tokenizer)


def learn(trained: LlamaForCausalLM, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    ids = torch.arange(6, 70)[None]
    losses = []
    for _ in range(steps):
        loss = trained(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_learned_once_and_norms_do_not_decay(built: LlamaForCausalLM, name: str) -> None:
    optimizer = build_optimizer(name, built, learning_rate=1e-2, weight_decay=0.1)
    grouped = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert {id(parameter) for parameter in grouped} == {id(parameter) for parameter in built.parameters()}
    assert len(grouped) == len(list(built.parameters()))
    for group in optimizer.param_groups:
        assert {parameter.ndim for parameter in group["params"]} == ({2} if group["weight_decay"] else {1})
    before = copy.deepcopy(built.state_dict())
    losses = learn(built, optimizer, 5)
    assert losses[-1] < losses[0]
    assert all(not torch.equal(before[name], tensor) for name, tensor in built.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_state_goes_on_as_before(built: LlamaForCausalLM, name: str) -> None:
    optimizer = build_optimizer(name, built, learning_rate=1e-2, weight_decay=0.1)
    learn(built, optimizer, 3)
    other = copy.deepcopy(built)
    restored = build_optimizer(name, other, learning_rate=7.0, weight_decay=0.0)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert learn(other, restored, 3) == learn(built, optimizer, 3)


@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_reaches_every_part(built: LlamaForCausalLM, name: str) -> None:
    optimizer = build_optimizer(name, built, learning_rate=1e-2, weight_decay=0.0)
    LambdaLR(optimizer, lambda _: 0.0)
    before = copy.deepcopy(built.state_dict())
    learn(built, optimizer, 1)
    assert all(torch.equal(before[name], tensor) for name, tensor in built.state_dict().items())
