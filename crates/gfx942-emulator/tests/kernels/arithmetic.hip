// Integer, single, double and half precision arithmetic, conversions, comparisons, transcendentals.
#include <hip/hip_fp16.h>
#include <hip/hip_runtime.h>

extern "C" __global__ void integers(const int* a, const unsigned* b, long long* wide, int* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int x = a[i];
    unsigned y = b[i];
    int r = x * 7 + (int)(y >> 3) - __popc(x) + __clz(y) + __ffs(x) + __brev(y);
    r ^= x / 13 + x % 11 + (int)(y / 7u) + max(x, (int)y) - min(x, 5) + abs(x) + __mulhi(x, r) + (int)__umulhi(y, 3u);
    r += (x & 0xff) * (int)(y & 0xffffff) + ((x >> 8) & 31) + __byte_perm(x, y, 0x5410) + __sad(x, r, y);
    long long w = wide[i];
    w = w * x + (w >> (y & 63)) - (w << 5) + (w < x ? w / 17 : w % 19);
    wide[i] = w;
    out[i] = (w > 0 && x != 3) ? r : r | (x << (y & 31));
}

extern "C" __global__ void floats(const float* a, const double* b, const __half* c, float* out, double* outd, __half* outh) {
    int i = threadIdx.x;
    float x = a[i];
    double d = b[i];
    __half h = c[i];
    out[i] = sqrtf(x) + sinf(x) * cosf(x) + expf(x) / logf(x) + rsqrtf(x) + floorf(x) + fabsf(x) * -2.5f + fmaf(x, 3.0f, x)
        + ldexpf(x, i) + (float)(int)x + (float)(unsigned)x + truncf(x) + rintf(x) + ceilf(x) + fminf(x, 1.5f) + fmaxf(x, 0.25f);
    outd[i] = sqrt(d) / (d + 1.0) + fma(d, d, 2.0) + floor(d) - (double)i + exp(d) + (double)x + (d < 0.5 ? 1.0 : d * 4.0) + frexp(d, &i);
    outh[threadIdx.x] = h * h + __float2half(x) / h - hsqrt(h) + hexp(h) + __hmax(h, __float2half(0.5f)) + (__half)(short)i;
}

extern "C" __global__ void packed(const __half2* a, const float2* b, short2* c, __half2* out, float2* outf) {
    int i = threadIdx.x;
    __half2 x = a[i];
    out[i] = __hfma2(x, x, __hmul2(x, __halves2half2(__float2half(2.0f), __float2half(0.5f)))) + __hneg2(x);
    typedef float f2 __attribute__((ext_vector_type(2)));
    typedef short s2 __attribute__((ext_vector_type(2)));
    f2 y = {b[i].x, b[i].y};
    y = y * y + y.yx * 3.0f;
    outf[i] = {y.x, y.y};
    s2 z = {c[i].x, c[i].y};
    z = z * z + (z >> (short)2) - __builtin_elementwise_max(z, z.yx);
    c[i] = {z.x, z.y};
}

extern "C" __global__ void bytes(const unsigned char* a, const signed char* b, unsigned char* out, const unsigned short* s, short* outs) {
    int i = threadIdx.x;
    unsigned char x = a[i];
    signed char y = b[i];
    out[i] = x * 3 + y + (x >> 2) + (unsigned char)((float)x * 0.5f);
    outs[i] = s[i] * (short)y - (short)x + (s[i] < 7 ? 3 : s[i] / 3);
}

extern "C" __global__ void dots(const int* a, const int* b, int* out, float* outf) {
    int i = threadIdx.x;
    typedef _Float16 h2 __attribute__((ext_vector_type(2)));
    out[i] = __builtin_amdgcn_sdot4(a[i], b[i], out[i], true) + __builtin_amdgcn_udot8(a[i], b[i], 3, false);
    outf[i] = __builtin_amdgcn_fdot2(__builtin_bit_cast(h2, a[i]), __builtin_bit_cast(h2, b[i]), outf[i], true);
}
