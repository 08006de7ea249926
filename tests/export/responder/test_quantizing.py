from __future__ import annotations

import numpy as np
import pytest
from empathetic_export.responder.quantizing import BLOCK, quantize
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([4, 8]), st.floats(-3, 3), st.integers(0, 2**32 - 1))
def test_a_number_moves_by_a_step_of_its_block_at_most(rows: int, blocks: int, bits: int, shift: float, seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(shift, 1, (rows, blocks * BLOCK)).astype(np.float32)
    quantized = quantize(matrix, bits)
    moved = np.abs(quantized.restored() - matrix).reshape(rows, blocks, BLOCK)
    assert (moved <= 1.001 * quantized.scales[:, :, None]).all()


@pytest.mark.parametrize("bits", [4, 8])
def test_zero_stays_zero_and_a_block_of_zeros_is_possible(bits: int) -> None:
    matrix = np.linspace(-1, 2, 2 * BLOCK, dtype=np.float32).reshape(2, BLOCK)
    matrix[0, 3] = 0
    matrix[1] = 0
    restored = quantize(matrix, bits).restored()
    assert restored[0, 3] == 0
    assert not restored[1].any()


def test_eight_bits_are_sixteen_times_as_fine_as_four() -> None:
    matrix = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)
    errors = [np.abs(quantize(matrix, bits).restored() - matrix).mean() for bits in (4, 8)]
    assert 14 < errors[0] / errors[1] < 20


def test_columns_that_are_no_whole_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        quantize(np.zeros((2, 40), np.float32), 8)
