"""Writes gguf_dequant.gguf: random blocks of every GGUF type and what they mean.

For each type T the file has a tensor `T` of random blocks and an F32 tensor `T.expected` with the
values that `gguf.quants.dequantize` gives for them. The Rust reader must give the same bits.

    python gguf_dequant.py --out FOLDER
"""

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGUFWriter, quants
from gguf.constants import GGML_QUANT_SIZES

import _fixtures

# Offsets of the f16 scales within a block.
SCALES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q8_0: [0], T.Q4_K: [0, 2], T.Q6_K: [208]}
ROWS = 3
BLOCKS_PER_ROW = {T.Q4_0: 12, T.Q4_1: 12, T.Q8_0: 12, T.Q4_K: 4, T.Q6_K: 4}
FLOAT_COLS = 256

# f16 bit patterns: zeros, least and largest subnormal, least normal, largest, infinities.
ODD_F16 = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00]


def f16_scales(rng, count):
    """Mostly of a size that weights have, of both signs; odd ones first."""
    scales = rng.normal(0.0, 0.02, count).astype(np.float16).view(np.uint16)
    odd = np.array(ODD_F16, dtype=np.uint16)[:count]
    scales[: len(odd)] = odd
    return rng.permutation(scales)


def quantized(rng, kind):
    block_bytes = GGML_QUANT_SIZES[kind][1]
    blocks = rng.integers(0, 256, (ROWS * BLOCKS_PER_ROW[kind], block_bytes), dtype=np.uint8)
    for at in SCALES[kind]:
        blocks[:, at : at + 2] = f16_scales(rng, len(blocks)).view(np.uint8).reshape(-1, 2)
    return blocks.reshape(ROWS, -1)


def floats(rng, kind):
    """Every exponent of the type. NaN payloads are left out: no arithmetic promises them."""
    if kind == T.F32:
        bits = rng.integers(0, 1 << 32, (ROWS, FLOAT_COLS), dtype=np.uint32)
        exponent = 0x7F800000
    else:
        bits = rng.integers(0, 1 << 16, (ROWS, FLOAT_COLS), dtype=np.uint16)
        exponent = 0x7C00 if kind == T.F16 else 0x7F80
        if kind == T.F16:
            bits[0, : len(ODD_F16)] = ODD_F16
    mantissa = ((exponent & -exponent) - 1) & int(np.iinfo(bits.dtype).max)
    is_special = (bits & exponent) == exponent
    bits[is_special] &= np.array(~mantissa & int(np.iinfo(bits.dtype).max), dtype=bits.dtype)
    return bits.view(np.uint8).reshape(ROWS, -1)


def make(folder):
    rng = np.random.Generator(np.random.PCG64(20250731))
    writer = GGUFWriter(folder / "gguf_dequant.gguf", "fixture")
    writer.add_array("fixture.numbers", [1, -2, 3])
    writer.add_array("fixture.texts", ["", "ä", "🦀"])
    with np.errstate(all="ignore"):
        for kind in [T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q8_0, T.Q4_K, T.Q6_K]:
            data = quantized(rng, kind) if kind in SCALES else floats(rng, kind)
            typed = data.view({T.F32: np.float32, T.F16: np.float16}.get(kind, np.uint8))
            expected = quants.dequantize(typed, kind).astype(np.float32)
            writer.add_tensor(kind.name, data, raw_dtype=kind)
            writer.add_tensor(f"{kind.name}.expected", expected)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    _fixtures.run(__file__, make)
