"""Writes mfma_exact.json: the bit-exact mode of the dense matrix instructions on hard inputs.

The arithmetic is CDNA3's as published in arXiv 2511.10909 (MMA-Sim), written anew with exact rational numbers.
A case says how its inputs are made (`inputs`): random bits under two masks, in each second element of k possibly
the one before with its sign changed, so that sums cancel. The results are checksums of D's registers.
"""

import json
import math
import struct
from fractions import Fraction

import _fixtures
from _mfma import BITS, INSTRUCTIONS, LANES, Random, checksums

# Exponent bits, fraction bits, bias.
FORMATS = {
    "f32": (8, 23, 127),
    "xf32": (8, 23, 127),
    "f16": (5, 10, 15),
    "bf16": (8, 7, 127),
    "fp8": (4, 3, 8),
    "bf8": (5, 2, 16),
}
NAN = 0x7FC00000
INFINITY = 0x7F800000


def decode(bits, name):
    """"nan", "inf", "-inf", or the significand and the exponent."""
    exponent_bits, fraction_bits, bias = FORMATS[name]
    if name == "xf32" and bits & 0x7FFFFFFF <= INFINITY:
        bits = bits >> 13 << 13
    sign = -1 if bits >> (exponent_bits + fraction_bits) & 1 else 1
    field = bits >> fraction_bits & ((1 << exponent_bits) - 1)
    fraction = bits & ((1 << fraction_bits) - 1)
    if name in ("fp8", "bf8"):
        if bits == 0x80:
            return "nan"
    elif field == (1 << exponent_bits) - 1:
        return "nan" if fraction else "inf" if sign == 1 else "-inf"
    if field == 0 and fraction == 0:
        return Fraction(0), -126
    leading = 0 if field == 0 else 1 << fraction_bits
    return Fraction(sign * (leading + fraction), 1 << fraction_bits), max(field, 1) - bias


def encode(value):
    """The nearest f32, ties to even."""
    if value == 0:
        return 0
    sign = 0x80000000 if value < 0 else 0
    value = abs(value)
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    if value < Fraction(2) ** exponent:
        exponent -= 1
    exponent = max(exponent, -126)
    units = round(value / Fraction(2) ** (exponent - 23))  # Python rounds to even.
    code = ((exponent + 126) << 23) + units
    return sign | min(code, INFINITY)


def scaled(part, to, bits):
    """The significand, aligned to the exponent `to`, in units of 2 to the −`bits`."""
    significand, exponent = part
    return significand * Fraction(2) ** (bits + exponent - to)


def truncated_sum(products):
    largest = max(exponent for _, exponent in products)
    return Fraction(sum(math.trunc(scaled(p, largest, 24)) for p in products), 2**24), largest


def add_group(a, b, c, is_fp8):
    """C (bits of an f32) plus the products of one group."""
    if "nan" in (*a, *b, c):
        return NAN
    infinities = {c} - {c if not isinstance(c, str) else None}
    products = []
    overflows = set()
    for x, y in zip(a, b):
        if isinstance(x, str) or isinstance(y, str):
            zero = any(not isinstance(z, str) and z[0] == 0 for z in (x, y))
            if zero:
                return NAN
            negative = [z == "-inf" if isinstance(z, str) else z[0] < 0 for z in (x, y)]
            infinities.add("-inf" if negative[0] != negative[1] else "inf")
            continue
        product = x[0] * y[0], x[1] + y[1]
        if abs(product[0]) * Fraction(2) ** product[1] >= 2**128:
            overflows.add("-inf" if product[0] < 0 else "inf")
        products.append(product)
    special = infinities or overflows
    if special:
        return NAN if len(special) == 2 else INFINITY | (0x80000000 if "-inf" in special else 0)
    if is_fp8:
        halves = [truncated_sum(products[0::2]), truncated_sum(products[1::2])]
        exponent = max(e for _, e in halves)
        total = Fraction(sum(math.floor(scaled(half, exponent, 24)) for half in halves), 2**24), exponent
    else:
        total = truncated_sum(products)
    exponent = max(total[1], c[1])
    high = Fraction(math.floor(scaled(total, exponent, 31)), 2**31)
    low = Fraction(math.floor(scaled(c, exponent, 24)), 2**24)
    if is_fp8 and c[1] < exponent - 25:
        low = 0
    return encode((high + low) * Fraction(2) ** exponent)


def fma(a, b, c):
    """One step of the chain of the f32 instructions; `c` and the result are bits."""
    x, y, z = decode(a, "f32"), decode(b, "f32"), decode(c, "f32")
    if any(isinstance(v, str) for v in (x, y, z)):
        number = lambda bits: struct.unpack("<f", struct.pack("<I", bits))[0]
        result = number(a) * number(b) + number(c) if not any(v == "nan" for v in (x, y, z)) else math.nan
        return NAN if math.isnan(result) else INFINITY | (0x80000000 if result < 0 else 0)
    exact = x[0] * y[0] * Fraction(2) ** (x[1] + y[1]) + z[0] * Fraction(2) ** z[1]
    if exact == 0:
        product_sign = (a ^ b) >> 31
        return 0x80000000 if product_sign and c >> 31 and x[0] * y[0] == 0 and z[0] == 0 else 0
    return encode(exact) or (0x80000000 if exact < 0 else 0)


def dot(inst, a, b, c):
    if inst.a == "f32":
        for x, y in zip(a, b):
            c = fma(x, y, c)
        return c
    is_fp8 = inst.a in ("fp8", "bf8")
    group = 16 if is_fp8 else 4 if inst.a == "xf32" else min(8, inst.depth)
    a, b = [decode(x, inst.a) for x in a], [decode(y, inst.b) for y in b]
    for k in range(0, inst.depth, group):
        c = add_group(a[k : k + group], b[k : k + group], decode(c, "f32"), is_fp8)
    return c


def draw(random, num_items, bits, masks, cancel, sign):
    """`items[item][lane]`."""
    clear, set_ = masks
    items = []
    for item in range(num_items):
        values = [random.next() & ((1 << bits) - 1) & clear | set_ for _ in range(LANES)]
        if cancel and item % 2 == 1:
            values = [old ^ (value & 1) ^ (sign << (bits - 1)) for old, value in zip(items[-1], values)]
        items.append(values)
    return items


def exponents(name, low, high):
    """Masks under which the exponent field is between `low` and `high`: these differ in their lowest bits, all of them."""
    exponent_bits, fraction_bits, _ = FORMATS[name]
    fixed = ((1 << exponent_bits) - 1) & ~(low ^ high)
    return ~(fixed << fraction_bits) & 0xFFFFFFFF, low << fraction_bits


def inputs(inst):
    """Masks of A, B and C, and whether to cancel."""
    every = (0xFFFFFFFF, 0)
    bias = lambda name: FORMATS[name][2]
    near = [exponents(name, bias(name) & ~3, bias(name) | 3) for name in (inst.a, inst.b)]
    near_c = exponents("f32", 124, 127)
    far_c = [exponents("f32", 96, 127), exponents("f32", 128, 159)]
    denormal = [(~(((1 << FORMATS[n][0]) - 1) << FORMATS[n][1]) & 0xFFFFFFFF, 0) for n in (inst.a, inst.b, "f32")]
    yield [every, every, every], False
    yield [every, every, every], True
    yield [*near, near_c], False
    yield [*near, near_c], True
    yield [*near, far_c[0]], True
    yield [*near, far_c[1]], True
    yield [*near, (0, 0)], True
    yield [denormal[0], every, far_c[0]], False
    yield [denormal[0], denormal[1], denormal[2]], False


def execute(inst, masks, cancel, seed):
    random = Random(seed)
    bits = [BITS[inst.a], BITS[inst.b], 32]
    counts = [inst.items, inst.items, inst.num_outputs]
    a, b = (draw(random, counts[i], bits[i], masks[i], cancel, 1 - i) for i in range(2))
    c = draw(random, counts[2], 32, masks[2], False, 0)

    def row(items, block, i):
        places = [inst.input_lane(block, i, k) for k in range(inst.depth)]
        return [items[item][lane] for lane, item in places]

    d = [[0] * LANES for _ in range(inst.num_outputs)]
    for block in range(inst.blocks):
        a_rows = [row(a, block, i) for i in range(inst.side)]
        b_rows = [row(b, block, i) for i in range(inst.side)]
        for i in range(inst.side):
            for j in range(inst.side):
                lane, item = inst.output_lane(block, i, j)
                d[item][lane] = dot(inst, a_rows[i], b_rows[j], c[item][lane])
    return checksums(d, 32)


def make(folder):
    cases = []
    for inst in INSTRUCTIONS:
        if inst.sparse or inst.a not in FORMATS or inst.side == 32:
            continue  # The 32 × 32 ones add up as the 16 × 16 ones of their type do.
        for masks, cancel in inputs(inst):
            seed = len(cases) + 1
            d = execute(inst, masks, cancel, seed)
            cases.append({"op": inst.name, "masks": masks, "cancel": cancel, "seed": seed, "d": d})
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (folder / "mfma_exact.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    _fixtures.run(__file__, make)
