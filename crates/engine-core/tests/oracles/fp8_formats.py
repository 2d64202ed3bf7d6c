"""Writes fp8_formats.json: what ml_dtypes says of the four FP8 formats.

For each format: `decode`, the f32 bits of all 256 codes (null for NaN), and `encode`, pairs of f32 bits and the code
that the conversion gives: every code's value, both neighbours of every midpoint and the midpoint itself, the edges of
overflow, specials, and random bits. ml_dtypes does not saturate.
"""

import json

import ml_dtypes
import numpy as np

import _fixtures

FORMATS = {
    "E4m3": ml_dtypes.float8_e4m3fn,
    "E5m2": ml_dtypes.float8_e5m2,
    "E4m3Fnuz": ml_dtypes.float8_e4m3fnuz,
    "E5m2Fnuz": ml_dtypes.float8_e5m2fnuz,
}


def inputs(dtype, rng):
    codes = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float32)
    positive = np.unique(codes[np.isfinite(codes) & (codes >= 0)])
    step = positive[-1] - positive[-2]
    edges = np.append(positive, np.float32(positive[-1] + step))
    middles = ((edges[:-1].astype(np.float64) + edges[1:]) / 2).astype(np.float32)
    near = [middles, np.nextafter(middles, np.float32(0)), np.nextafter(middles, np.float32(np.inf))]
    special = np.array([np.inf, np.nan, 1e-45, 3.4028235e38, 1.1754944e-38], dtype=np.float32)
    some = rng.integers(0, 1 << 31, 500, dtype=np.uint32).view(np.float32)
    values = np.concatenate([positive, *near, special, some])
    return np.concatenate([values, -values])


def make(folder):
    rng = np.random.Generator(np.random.PCG64(20261122))
    fixture = {}
    for name, dtype in FORMATS.items():
        decoded = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float32)
        bits = decoded.view(np.uint32)
        values = inputs(dtype, rng)
        with np.errstate(over="ignore", invalid="ignore"):
            codes = values.astype(dtype).view(np.uint8)
        fixture[name] = {
            "decode": [None if np.isnan(v) else int(b) for v, b in zip(decoded, bits)],
            "encode": [[int(b), int(c)] for b, c in zip(values.view(np.uint32), codes)],
        }
    (folder / "fp8_formats.json").write_text(json.dumps(fixture, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    _fixtures.run(__file__, make)
