"""Writes mfma_layout.json: every matrix instruction on small integers, where any order of summation is exact.

`values`: for each type the bits of the numbers that inputs are drawn from. `cases`: the instruction, its
modifiers, the seed, and a checksum of each register of D. The layouts are the manual's formulas, element by
element (`_mfma.py`); the products are numpy's, in 64-bit integers.
"""

import json

import _fixtures
import ml_dtypes
import numpy as np
from _mfma import BITS, INSTRUCTIONS, LANES, Random, a_lane, b_lane, checksums

SMALL = [0, 1, -1, 2, -2, 3, -3, 4, -4, 6, -6]
DTYPES = {
    "f64": (np.float64, np.uint64),
    "f32": (np.float32, np.uint32),
    "xf32": (np.float32, np.uint32),
    "i32": (np.int32, np.uint32),
    "f16": (np.float16, np.uint16),
    "bf16": (ml_dtypes.bfloat16, np.uint16),
    "fp8": (ml_dtypes.float8_e4m3fnuz, np.uint8),
    "bf8": (ml_dtypes.float8_e5m2fnuz, np.uint8),
    "i8": (np.int8, np.uint8),
}
NUMBERS = {name: SMALL for name in DTYPES}
NUMBERS["f64"] = SMALL[1:]  # A negated zero would be another zero.
NUMBERS["i8"] = [-128, -127, -77, -1, 0, 1, 55, 126, 127]
NUMBERS["i32"] = [0, 1, -1, 1000, -1000]
# Which two of four elements are stored.
PAIRS = [i | j << 2 for j in range(4) for i in range(j)]


def bits(name, numbers):
    dtype, unsigned = DTYPES[name]
    return [int(x) for x in np.array(numbers).astype(dtype).view(unsigned)]


def draw(random, num_items, table):
    return [[table[random.next() % len(table)] for _ in range(LANES)] for _ in range(num_items)]


def modifiers(inst):
    """All values of each field on its own, and some together."""
    yield 0, 0, 0
    if inst.sparse:
        for abid in range(1, 4 if BITS[inst.a] == 16 else 2):
            yield 0, abid, 0
        yield 1, 1, 0
        yield 3, 0, 0
        return
    if inst.a == "f64":
        yield from ((0, 0, blgp) for blgp in range(1, 8))
        return
    broadcasts = [
        (cbsz, abid)
        for cbsz in range(1, 5)
        for abid in range(1 << cbsz)
        if inst.blocks == 1 << cbsz
    ]
    yield from ((cbsz, abid, 0) for cbsz, abid in broadcasts)
    if inst.blocks > 1 or inst.a == "f32":
        yield from ((0, 0, blgp) for blgp in range(1, 8))
    if broadcasts:
        yield *broadcasts[-1], 3


def execute(inst, cbsz, abid, blgp, seed):
    random = Random(seed)
    stored = inst.items // 2 if inst.sparse else inst.items
    a, b, c = (
        draw(random, count, NUMBERS[name])
        for count, name in [(stored, inst.a), (inst.items, inst.b), (inst.num_outputs, inst.d)]
    )
    nibbles = draw(random, 8, PAIRS) if inst.sparse else None
    shape = (inst.blocks, inst.side, inst.depth)
    a_matrix, b_matrix = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    signs = [-1 if inst.a == "f64" and blgp >> bit & 1 else 1 for bit in range(3)]
    for block, row, k in np.ndindex(shape):
        lane, item = inst.input_lane(block, row, k)
        lane_of_b = lane if inst.a == "f64" else b_lane(lane, blgp)
        b_matrix[block, row, k] = signs[1] * b[item][lane_of_b]
        if not inst.sparse:
            a_matrix[block, row, k] = signs[0] * a[item][a_lane(lane, cbsz, abid)]
        elif item % 4 == 0:
            # Four elements of A: two stored ones and where they are.
            first = (0 if cbsz else abid) * inst.items // 4
            pair = nibbles[first + item // 4][lane]
            for half, place in enumerate([pair & 3, pair >> 2]):
                a_matrix[block, row, k + place] = a[item // 2 + half][lane]
    products = np.einsum("bik,bjk->bij", a_matrix, b_matrix)
    d = [[0] * LANES for _ in range(inst.num_outputs)]
    for block, i, j in np.ndindex(products.shape):
        lane, item = inst.output_lane(block, i, j)
        d[item][lane] = signs[2] * c[item][lane] + int(products[block, i, j])
    registers = [bits(inst.d, lanes) for lanes in d]
    return checksums(registers, 64 if inst.d == "f64" else 32)


def make(folder):
    cases = []
    for inst in INSTRUCTIONS:
        for cbsz, abid, blgp in modifiers(inst):
            seed = len(cases) + 1
            d = execute(inst, cbsz, abid, blgp, seed)
            cases.append({"op": inst.name, "cbsz": cbsz, "abid": abid, "blgp": blgp, "seed": seed, "d": d})
    values = {name: bits(name, numbers) for name, numbers in NUMBERS.items()}
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    pairs = json.dumps(PAIRS)
    text = f'{{"values":{json.dumps(values)},\n"pairs":{pairs},\n"cases":[\n{lines}\n]}}\n'
    (folder / "mfma_layout.json").write_text(text)


if __name__ == "__main__":
    _fixtures.run(__file__, make)
