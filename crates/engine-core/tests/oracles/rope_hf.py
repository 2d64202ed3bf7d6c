"""Writes rope_hf.json: RoPE frequencies by the formulas of Hugging Face transformers 5.

Source of the formulas: transformers 5.19, src/transformers/modeling_rope_utils.py. Written anew in
plain Python (no torch, no numpy), operation by operation: `f32` rounds where a float32 tensor
would. Frequencies are written as the bits of the float32.

    PYTHONPATH=tests/oracles python rope_hf.py --out FOLDER
"""

import json
import math
import struct

import _fixtures


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def bits(x):
    return struct.unpack("<I", struct.pack("<f", x))[0]


def powers(base, dim):
    """base ** (arange(0, dim, 2).float() / dim)"""
    return [f32(math.pow(f32(base), f32(i / dim))) for i in range(0, dim, 2)]


def plain(base, dim):
    return [f32(1.0 / power) for power in powers(base, dim)]


def linear(p):
    return [f32(freq / f32(p["factor"])) for freq in plain(p["theta"], p["dim"])]


def dynamic(p):
    seq_len = max(p["max_model_len"], p["max_position_embeddings"])
    stretch = p["factor"] * seq_len / p["max_position_embeddings"] - (p["factor"] - 1)
    return plain(p["theta"] * stretch ** (p["dim"] / (p["dim"] - 2)), p["dim"])


def yarn(p):
    dim, base, original = p["dim"], p["theta"], p["original"]

    def correction_dim(rotations):
        return dim * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(base))

    low, high = correction_dim(p["beta_fast"]), correction_dim(p["beta_slow"])
    if p["truncate"]:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    if low == high:
        high += 0.001
    result = []
    for i, power in enumerate(powers(base, dim)):
        ramp = min(max(f32(f32(i - f32(low)) / f32(high - low)), 0.0), 1.0)
        extrapolation_factor = f32(1 - ramp)
        interpolation = f32(1.0 / f32(f32(p["factor"]) * power))
        extrapolation = f32(1.0 / power)
        result.append(
            f32(
                f32(interpolation * f32(1 - extrapolation_factor))
                + f32(extrapolation * extrapolation_factor)
            )
        )
    return result


def llama3(p):
    low, high, original = p["low_freq_factor"], p["high_freq_factor"], p["original"]
    factor = f32(p["factor"])
    result = []
    for freq in plain(p["theta"], p["dim"]):
        # A Python number divided by a tensor is the tensor's reciprocal times the number.
        wavelen = f32(f32(1.0 / freq) * f32(2 * math.pi))
        if wavelen > f32(original / low):
            result.append(f32(freq / factor))
        elif wavelen < f32(original / high):
            result.append(freq)
        else:
            smooth = f32(f32(f32(f32(1.0 / wavelen) * original) - f32(low)) / f32(high - low))
            slow = f32(f32(f32(1 - smooth) * freq) / factor)
            result.append(f32(slow + f32(smooth * freq)))
    return result


METHODS = {
    "none": lambda p: plain(p["theta"], p["dim"]),
    "linear": linear,
    "dynamic": dynamic,
    "yarn": yarn,
    "llama3": llama3,
}

CASES = [
    {"method": "none", "theta": 10000.0, "dim": 128},
    {"method": "none", "theta": 100000.0, "dim": 64},
    {"method": "none", "theta": 1000000.0, "dim": 128},
    {"method": "none", "theta": 10000.0, "dim": 2},
    {"method": "linear", "theta": 10000.0, "dim": 128, "factor": 4.0},
    {"method": "linear", "theta": 1000000.0, "dim": 16, "factor": 2.5},
]
CASES += [
    {
        "method": "dynamic",
        "theta": 10000.0,
        "dim": dim,
        "factor": factor,
        "max_position_embeddings": 2048,
        "max_model_len": max_model_len,
    }
    for dim, factor in [(128, 2.0), (16, 4.0)]
    for max_model_len in [100, 2048, 2049, 5000, 16384]
]
CASES += [
    {
        "method": "yarn",
        "theta": theta,
        "dim": dim,
        "factor": factor,
        "original": original,
        "beta_fast": beta_fast,
        "beta_slow": beta_slow,
        "truncate": truncate,
    }
    for theta, dim, factor, original, beta_fast, beta_slow in [
        (10000.0, 128, 16.0, 4096, 32.0, 1.0),
        (1000000.0, 128, 4.0, 32768, 32.0, 1.0),
        (10000.0, 16, 4.0, 32, 32.0, 1.0),
        (150000.0, 64, 32.0, 4096, 8.0, 2.0),
        # The correction range is a single dimension.
        (10000.0, 16, 4.0, 4, 32.0, 1.0),
    ]
    for truncate in [True, False]
]
CASES += [
    {
        "method": "llama3",
        "theta": 500000.0,
        "dim": dim,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": high,
        "original": original,
    }
    for dim, factor, high, original in [
        (128, 8.0, 4.0, 8192),
        (64, 32.0, 4.0, 8192),
        (16, 8.0, 3.0, 64),
    ]
]


def make(folder):
    lines = [
        json.dumps({**case, "inv_freq_bits": [bits(x) for x in METHODS[case["method"]](case)]})
        for case in CASES
    ]
    (folder / "rope_hf.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    _fixtures.run(__file__, make)
