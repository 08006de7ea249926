"""Weights in blocks of a few bits, in the layout of ONNX Runtime's MatMulNBits and GatherBlockQuantized. Pure; knows no graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Columns that share a scale: the fewest that the operators take. Larger blocks save little in a model of this size.
BLOCK = 32
_TINY = float(np.finfo(np.float32).tiny)  # in place of a scale of zero


@dataclass(frozen=True, slots=True)
class Blocks:
    """A matrix (rows, columns): packed integers (rows, blocks, bytes), scales (rows, blocks), packed zero points (rows, bytes)."""

    packed: NDArray[np.uint8]
    scales: NDArray[np.float32]
    zero_points: NDArray[np.uint8]
    bits: int

    def restored(self) -> NDArray[np.float32]:
        """Return the matrix as the operators see it."""
        rows, blocks = self.scales.shape
        numbers = _unpack(self.packed, self.bits).astype(np.float32)
        zeros = _unpack(self.zero_points, self.bits)[:, :blocks, None].astype(np.float32)
        matrix: NDArray[np.float32] = ((numbers - zeros) * self.scales[:, :, None]).reshape(rows, -1)
        return matrix


def quantize(matrix: NDArray[np.float32], bits: int) -> Blocks:
    """Round a matrix (rows, columns) to 4 or 8 bits, each block of a row between its own least and largest value.

    Raises:
        ValueError: the columns are not whole blocks.
    """
    rows, columns = matrix.shape
    if columns % BLOCK:
        raise ValueError(f"{columns} columns are not a multiple of {BLOCK}")
    blocks = matrix.reshape(rows, columns // BLOCK, BLOCK)
    # Zero is always within, so that it stays exactly zero.
    low, high = np.minimum(blocks.min(axis=2), 0), np.maximum(blocks.max(axis=2), 0)
    largest = 2**bits - 1
    scales = np.maximum((high - low) / largest, _TINY).astype(np.float32)
    zeros = np.clip(np.round(-low / scales), 0, largest)
    numbers = np.clip(np.round(blocks / scales[:, :, None]) + zeros[:, :, None], 0, largest)
    return Blocks(_pack(numbers.astype(np.uint8), bits), scales, _pack(zeros.astype(np.uint8), bits), bits)


def _pack(numbers: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Put two numbers of 4 bits into a byte along the last axis, the first one low; an odd number of them gets a zero."""
    if bits == 8:
        return numbers
    if numbers.shape[-1] % 2:
        numbers = np.concatenate([numbers, np.zeros_like(numbers[..., :1])], axis=-1)
    return (numbers[..., ::2] | numbers[..., 1::2] << 4).astype(np.uint8)


def _unpack(packed: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    if bits == 8:
        return packed
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)
