"""Writes fp8_ml_dtypes.json: the two 8-bit formats of gfx942 as ml_dtypes has them.

`values`: all 256 codes, as the bits of a float32 (a NaN as null). `boundaries`: float32 bits, the code
of that value and the code of its negative, for every code's value, the middle between each two
neighbours, one float32 to either side of the middle, and what lies beyond the largest value.
"""

import json

import _fixtures
import ml_dtypes
import numpy as np


def bits(x):
    return int(np.float32(x).view(np.uint32))


def boundaries(dtype):
    codes = np.arange(128, dtype=np.uint8)
    values = codes.view(dtype).astype(np.float32)
    largest = values[-1]
    # Where the next value would be, had the format one.
    beyond = np.float32(2 * largest - values[-2])
    points = []
    for low, high in zip(values, [*values[1:], beyond]):
        middle = np.float32((np.float64(low) + np.float64(high)) / 2)
        below, above = (np.nextafter(middle, np.float32(end)) for end in (0, np.inf))
        points += [low, np.nextafter(low, np.float32(np.inf)), below, middle, above, np.nextafter(high, np.float32(0))]
    points += [beyond, 2 * beyond, np.float32(3e38), np.float32(np.inf), np.float32(1e-45)]
    points = np.array(points, dtype=np.float32)
    positive = points.astype(dtype).view(np.uint8)
    negative = (-points).astype(dtype).view(np.uint8)
    return [[bits(x), int(p), int(n)] for x, p, n in zip(points, positive, negative)]


def table(dtype):
    values = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float32)
    return [None if np.isnan(x) else bits(x) for x in values]


def make(folder):
    formats = {"fp8": ml_dtypes.float8_e4m3fnuz, "bf8": ml_dtypes.float8_e5m2fnuz}
    fixture = {name: {"values": table(d), "boundaries": boundaries(d)} for name, d in formats.items()}
    (folder / "fp8_ml_dtypes.json").write_text(json.dumps(fixture, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    _fixtures.run(__file__, make)
