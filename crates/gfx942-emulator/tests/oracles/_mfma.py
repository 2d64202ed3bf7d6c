"""The matrix instructions of gfx942: shapes, and where elements are, by the manual's formulas (7.1.4, 7.4).

Inputs are a function of a seed and of tables or masks in the fixture, so that a fixture holds results only,
and of those one checksum per register.
"""

import dataclasses
import re

LANES = 64
BITS = {"f64": 64, "f32": 32, "xf32": 32, "f16": 16, "bf16": 16, "fp8": 8, "bf8": 8, "i8": 8}

# fmt: off
NAMES = [
    "v_mfma_f64_16x16x4_f64", "v_mfma_f64_4x4x4_4b_f64",
    "v_mfma_f32_32x32x1_2b_f32", "v_mfma_f32_16x16x1_4b_f32", "v_mfma_f32_4x4x1_16b_f32",
    "v_mfma_f32_32x32x2_f32", "v_mfma_f32_16x16x4_f32",
    "v_mfma_f32_16x16x8_xf32", "v_mfma_f32_32x32x4_xf32",
    *(f"v_mfma_f32_{shape}_{type}" for type in ("f16", "bf16")
      for shape in ("32x32x4_2b", "16x16x4_4b", "4x4x4_16b", "32x32x8", "16x16x16")),
    *(f"v_mfma_i32_{shape}_i8" for shape in ("32x32x4_2b", "16x16x4_4b", "4x4x4_16b", "32x32x16", "16x16x32")),
    *(f"v_mfma_f32_{shape}_{a}_{b}" for shape in ("16x16x32", "32x32x16")
      for a in ("bf8", "fp8") for b in ("bf8", "fp8")),
    *(f"v_smfmac_f32_{shape}_{type}" for type in ("f16", "bf16") for shape in ("16x16x32", "32x32x16")),
    "v_smfmac_i32_16x16x64_i8", "v_smfmac_i32_32x32x32_i8",
    *(f"v_smfmac_f32_{shape}_{a}_{b}" for shape in ("16x16x64", "32x32x32")
      for a in ("bf8", "fp8") for b in ("bf8", "fp8")),
]
# fmt: on


@dataclasses.dataclass
class Instruction:
    name: str
    sparse: bool
    side: int
    depth: int
    blocks: int
    a: str
    b: str
    d: str

    @property
    def items(self):
        """Consecutive values of k in one lane."""
        return self.depth * self.side * self.blocks // LANES

    def input_lane(self, block, row, k):
        """The lane and the item of A[block, row, k], or of B[block, k, row]."""
        return row + self.side * (block + self.blocks * (k // self.items)), k % self.items

    def output_lane(self, block, i, j):
        """The lane and the item of D[block, i, j]."""
        if self.name == "v_mfma_f64_4x4x4_4b_f64":
            # Not the formula, but AMD's matrix instruction calculator and the example in its lab notes.
            return j + self.side * (block + self.blocks * i), 0
        h = 1 if self.d == "f64" else 4
        b_i = -(-LANES // (self.side * self.side // h))
        m_i = LANES // b_i // self.side
        g = self.side // (h * m_i)
        item = i % h + h * (i // (h * m_i) + g * (block // b_i))
        return j + self.side * (i // h % m_i + m_i * (block % b_i)), item

    @property
    def num_outputs(self):
        return self.side * self.side * self.blocks // LANES


def instruction(name):
    kind, d, side, _, depth, blocks, a, b = re.fullmatch(
        r"v_(mfma|smfmac)_(f32|f64|i32)_(\d+)x(\d+)x(\d+)(?:_(\d+)b)?_([a-z0-9]+)(?:_([a-z0-9]+))?", name
    ).groups()
    return Instruction(name, kind == "smfmac", int(side), int(depth), int(blocks or 1), a, b or a, d)


INSTRUCTIONS = [instruction(name) for name in NAMES]


class Random:
    """A generator that is easy to have in two languages."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return self.state >> 32


def a_lane(lane, cbsz, abid):
    size = LANES >> cbsz
    return lane % size + size * abid


def b_lane(lane, blgp):
    match blgp:
        case 0:
            return lane
        case 1 | 2:
            return lane % 32 + (blgp - 1) * 32
        case 3:
            return (lane + 16) % 64
        case _:
            return lane % 16 + (blgp - 4) * 16


def checksums(bits, num_bits):
    """One FNV-1a for each 32-bit register of `bits[item][lane]`."""
    registers = []
    for lanes in bits:
        for part in range(0, num_bits, 32):
            hash = 0x811C9DC5
            for value in lanes:
                for byte in ((value >> part) & 0xFFFFFFFF).to_bytes(4, "little"):
                    hash = (hash ^ byte) * 0x01000193 % 2**32
            registers.append(hash)
    return registers
