from __future__ import annotations

import pytest
import torch
from empathetic_train.losses import LOSSES, asymmetric, bce, focal


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(16, 28, generator=generator), (torch.rand(16, 28, generator=generator) < 0.2).float()


def test_focal_without_focus_is_four_times_bce(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert focal(*batch, gamma=0.0).item() == pytest.approx(4 * bce(*batch).item(), rel=1e-6)


def test_focal_equals_bce_at_even_odds() -> None:
    assert focal(torch.zeros(1, 1), torch.ones(1, 1)).item() == pytest.approx(bce(torch.zeros(1, 1), torch.ones(1, 1)).item())


def test_focal_weighs_an_easy_decision_less(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    easy, target = torch.tensor([[4.0]]), torch.ones(1, 1)
    assert focal(easy, target) < 0.01 * bce(easy, target)


def test_asymmetric_without_asymmetry_is_bce(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert asymmetric(*batch, gamma_negative=0.0, margin=0.0).item() == pytest.approx(bce(*batch).item(), rel=1e-5)


def test_asymmetric_ignores_negatives_below_the_margin() -> None:
    assert asymmetric(torch.tensor([[-4.0]]), torch.zeros(1, 1)).item() == 0.0


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_gradients_are_finite_at_extremes(name: str) -> None:
    logits = torch.tensor([[-60.0, 60.0, -60.0, 60.0]], requires_grad=True)
    loss = LOSSES[name](logits, torch.tensor([[0.0, 1.0, 1.0, 0.0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_fall_towards_the_target(name: str) -> None:
    target = torch.tensor([[1.0, 0.0]])
    assert LOSSES[name](torch.tensor([[2.0, -2.0]]), target) < LOSSES[name](torch.tensor([[-2.0, 2.0]]), target)
