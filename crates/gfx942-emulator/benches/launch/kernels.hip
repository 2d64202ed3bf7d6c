// What the bench `launch` runs: out and in are arrays of at least 1 MiB, `steps` is how often the loops turn.

#include <hip/hip_runtime.h>

typedef float f32x4 __attribute__((ext_vector_type(4)));
typedef float f32x16 __attribute__((ext_vector_type(16)));
typedef short i16x4 __attribute__((ext_vector_type(4)));

#define KERNEL extern "C" __global__ void __launch_bounds__(256)

// Full waves of arithmetic: f32 fma, mul, add, max, integers, a conversion, compare and select.
__device__ inline float mix(float x, unsigned &state, float y) {
    float z = fmaf(x, 0.75f, y);
    state = state * 5 + 0x3c6ef372;
    state ^= state >> 13;
    float noise = (float)(state >> 9) * 0x1p-23f;
    z = z * y + noise;
    z = fmaxf(z - x, noise);
    unsigned bits = (__float_as_uint(z) & 0xffffff) + (state << 3);
    return bits > 0x40000000u ? z + 0.5f : z * 0.25f;
}

KERNEL valu(float *out, const float *in, unsigned steps) {
    unsigned i = blockIdx.x * 256 + threadIdx.x, state = i * 2654435761u;
    float x = in[i], y = 1.0f / (1.0f + x);
    for (unsigned step = 0; step < steps; ++step) {
        x = mix(x, state, y);
        y = mix(y, state, x);
    }
    out[i] = x + y;
}

// The same with lanes switched off.
KERNEL divergent(float *out, const float *in, unsigned steps) {
    unsigned i = blockIdx.x * 256 + threadIdx.x, state = i * 2654435761u;
    float x = in[i], y = 1.0f / (1.0f + x);
    if (threadIdx.x % 3 != 1) {
        for (unsigned step = 0; step < steps; ++step) {
            x = mix(x, state, y);
            y = mix(y, state, x);
        }
    }
    out[i] = x + y;
}

// Copies through LDS, 16 bytes a lane.
KERNEL copy(f32x4 *out, const f32x4 *in, unsigned steps) {
    __shared__ f32x4 tile[256];
    for (unsigned step = 0; step < steps; ++step) {
        unsigned at = (blockIdx.x * steps + step) % 256 * 256 + threadIdx.x;
        __syncthreads();
        tile[threadIdx.x] = in[at];
        __syncthreads();
        out[at] = tile[threadIdx.x ^ 64];
    }
}

// A row of steps × 1024 values: four at a time, a butterfly over the wave, LDS over the waves.
KERNEL rms_norm(f32x4 *out, const f32x4 *in, unsigned steps) {
    __shared__ float waves[4];
    float sum = 0.0f;
    for (unsigned step = 0; step < steps; ++step) {
        f32x4 x = in[step * 256 + threadIdx.x];
        sum = fmaf(x.x, x.x, fmaf(x.y, x.y, fmaf(x.z, x.z, fmaf(x.w, x.w, sum))));
    }
    for (int distance = 1; distance < 64; distance *= 2) sum += __shfl_xor(sum, distance);
    if (threadIdx.x % 64 == 0) waves[threadIdx.x / 64] = sum;
    __syncthreads();
    sum = waves[0] + waves[1] + waves[2] + waves[3];
    float scale = rsqrtf(sum / (steps * 1024.0f) + 1e-6f);
    for (unsigned step = 0; step < steps; ++step) {
        out[step * 256 + threadIdx.x] = in[step * 256 + threadIdx.x] * scale;
    }
}

// A row of steps × 1024 values to FP8, by its largest.
KERNEL fp8_quantize(unsigned *out, const f32x4 *in, unsigned steps) {
    __shared__ float waves[4];
    float most = 0.0f;
    for (unsigned step = 0; step < steps; ++step) {
        f32x4 x = in[step * 256 + threadIdx.x];
        most = fmaxf(fmaxf(fmaxf(fabsf(x.x), fabsf(x.y)), fmaxf(fabsf(x.z), fabsf(x.w))), most);
    }
    for (int distance = 1; distance < 64; distance *= 2) most = fmaxf(most, __shfl_xor(most, distance));
    if (threadIdx.x % 64 == 0) waves[threadIdx.x / 64] = most;
    __syncthreads();
    most = fmaxf(fmaxf(waves[0], waves[1]), fmaxf(waves[2], waves[3]));
    float scale = 240.0f / most;
    for (unsigned step = 0; step < steps; ++step) {
        f32x4 x = in[step * 256 + threadIdx.x] * scale;
        int bytes = __builtin_amdgcn_cvt_pk_fp8_f32(x.x, x.y, 0, false);
        out[step * 256 + threadIdx.x] = __builtin_amdgcn_cvt_pk_fp8_f32(x.z, x.w, bytes, true);
    }
}

// A wave makes 64 × 64 of a product out of A and B in LDS, which all waves fill.
KERNEL mfma_bf16(f32x16 *out, const i16x4 *in, unsigned steps) {
    __shared__ i16x4 tiles[4][64];
    f32x16 sums[2][2] = {};
    for (unsigned step = 0; step < steps; ++step) {
        __syncthreads();
        tiles[threadIdx.x / 64][threadIdx.x % 64] = in[step * 256 + threadIdx.x];
        __syncthreads();
        unsigned lane = threadIdx.x % 64;
        for (int i = 0; i < 2; ++i)
            for (int j = 0; j < 2; ++j)
                sums[i][j] = __builtin_amdgcn_mfma_f32_32x32x8bf16_1k(tiles[i][lane], tiles[2 + j][lane], sums[i][j], 0, 0, 0);
    }
    out[blockIdx.x * 256 + threadIdx.x] = sums[0][0] + sums[0][1] + sums[1][0] + sums[1][1];
}

KERNEL mfma_fp8(f32x4 *out, const long *in, unsigned steps) {
    __shared__ long tiles[4][64];
    f32x4 sums[2][2] = {};
    for (unsigned step = 0; step < steps; ++step) {
        __syncthreads();
        tiles[threadIdx.x / 64][threadIdx.x % 64] = in[step * 256 + threadIdx.x];
        __syncthreads();
        unsigned lane = threadIdx.x % 64;
        for (int i = 0; i < 2; ++i)
            for (int j = 0; j < 2; ++j)
                sums[i][j] = __builtin_amdgcn_mfma_f32_16x16x32_fp8_fp8(tiles[i][lane], tiles[2 + j][lane], sums[i][j], 0, 0, 0);
    }
    out[blockIdx.x * 256 + threadIdx.x] = sums[0][0] + sums[0][1] + sums[1][0] + sums[1][1];
}
