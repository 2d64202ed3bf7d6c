// What a generated function may call: arithmetic with the same meaning for a C compiler on x86 and for
// hipcc on gfx942. Nothing here is undefined, nothing may be contracted, and a NaN has one bit pattern.
#ifdef __HIP__
#define DEVICE static __device__
#else
#define DEVICE static
#endif
#define NOINLINE __attribute__((noinline))

typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned u32;
typedef long long i64;
typedef unsigned long long u64;
typedef unsigned __int128 u128;
typedef float f32;
typedef double f64;
typedef _Float16 f16;

DEVICE u64 bits_i32(i32 x) { return (u32)x; }
DEVICE u64 bits_u32(u32 x) { return x; }
DEVICE u64 bits_i64(i64 x) { return (u64)x; }
DEVICE u64 bits_u64(u64 x) { return x; }
// The sign of a zero must not show: LLVM loses it in several of its patterns (`a < 0 ? a : 0` becomes `v_min`, a product
// that is narrowed `v_fma_mixlo_f16` with +0, a denominator `0 - x` becomes `-x`).
DEVICE u64 bits_f32(f32 x) { u32 b; __builtin_memcpy(&b, &x, 4); return x != x ? 0x7fc00000u : x == 0 ? 0 : b; }
DEVICE u64 bits_f64(f64 x) { u64 b; __builtin_memcpy(&b, &x, 8); return x != x ? 0x7ff8000000000000ull : x == 0 ? 0 : b; }
DEVICE u64 bits_f16(f16 x) { u16 b; __builtin_memcpy(&b, &x, 2); return x != x ? 0x7e00u : x == 0 ? 0 : b; }

DEVICE f32 from_bits_f32(u32 b) { f32 x; __builtin_memcpy(&x, &b, 4); return x; }
DEVICE f64 from_bits_f64(u64 b) { f64 x; __builtin_memcpy(&x, &b, 8); return x; }
DEVICE f16 from_bits_f16(u16 b) { f16 x; __builtin_memcpy(&x, &b, 2); return x; }

#define WRAPPING(T, U) \
    DEVICE T add_##T(T a, T b) { return (T)((U)a + (U)b); } \
    DEVICE T sub_##T(T a, T b) { return (T)((U)a - (U)b); } \
    DEVICE T mul_##T(T a, T b) { return (T)((U)a * (U)b); }
WRAPPING(i32, u32)
WRAPPING(u32, u32)
WRAPPING(i64, u64)
WRAPPING(u64, u64)

#define ORDERED(T) \
    DEVICE T least_##T(T a, T b) { return a < b ? a : b; } \
    DEVICE T most_##T(T a, T b) { return a > b ? a : b; }
ORDERED(i32)
ORDERED(u32)
ORDERED(i64)
ORDERED(u64)

ORDERED(f32)
ORDERED(f64)
ORDERED(f16)

#define SHIFTS(T, U, MASK) \
    DEVICE T shl_##T(T a, u32 n) { return (T)((U)a << (n & MASK)); } \
    DEVICE T shr_##T(T a, u32 n) { return a >> (n & MASK); } \
    DEVICE T rotate_##T(T a, u32 n) { \
        return (T)((U)a << (n & MASK) | (U)a >> ((MASK + 1 - (n & MASK)) & MASK)); \
    }
SHIFTS(i32, u32, 31u)
SHIFTS(u32, u32, 31u)
SHIFTS(i64, u64, 63u)
SHIFTS(u64, u64, 63u)

DEVICE u32 div_u32(u32 a, u32 b) { return a / (b | 1); }
DEVICE u32 rem_u32(u32 a, u32 b) { return a % (b | 1); }
DEVICE u64 div_u64(u64 a, u64 b) { return a / (b | 1); }
DEVICE u64 rem_u64(u64 a, u64 b) { return a % (b | 1); }
DEVICE i32 div_i32(i32 a, i32 b) { b |= 1; return b == -1 ? sub_i32(0, a) : a / b; }
DEVICE i32 rem_i32(i32 a, i32 b) { b |= 1; return b == -1 ? 0 : a % b; }
DEVICE i64 div_i64(i64 a, i64 b) { b |= 1; return b == -1 ? sub_i64(0, a) : a / b; }
DEVICE i64 rem_i64(i64 a, i64 b) { b |= 1; return b == -1 ? 0 : a % b; }

DEVICE u32 mul_high_u32(u32 a, u32 b) { return (u32)((u64)a * b >> 32); }
DEVICE i32 mul_high_i32(i32 a, i32 b) { return (i32)((i64)a * b >> 32); }
DEVICE u64 mul_high_u64(u64 a, u64 b) { return (u64)((u128)a * b >> 64); }
DEVICE u32 mul_24_u32(u32 a, u32 b) { return (a & 0xffffff) * (b & 0xffffff); }
DEVICE i32 mul_24_i32(i32 a, i32 b) { return mul_i32(shr_i32(shl_i32(a, 8), 8), shr_i32(shl_i32(b, 8), 8)); }
DEVICE u32 field_u32(u32 a, u32 at, u32 width) { return a >> (at & 31) & ((1u << (width & 31)) - 1); }
DEVICE u32 blend_u32(u32 mask, u32 a, u32 b) { return (mask & a) | (~mask & b); }
DEVICE u32 leading_zeros(u32 a) { return (u32)__builtin_clz(a | 1); }
DEVICE u32 trailing_zeros(u32 a) { return (u32)__builtin_ctz(a | 0x80000000u); }
DEVICE u32 ones(u32 a) { return (u32)__builtin_popcount(a); }
DEVICE u32 ones_64(u64 a) { return (u32)__builtin_popcountll(a); }
DEVICE u32 leading_zeros_64(u64 a) { return (u32)__builtin_clzll(a | 1); }
DEVICE u32 swap_bytes(u32 a) { return __builtin_bswap32(a); }

// Out of range, a conversion to an integer is undefined in C (and saturates on gfx942).
DEVICE i32 to_i32(f64 x) { return x > -2147483648.0 && x < 2147483648.0 ? (i32)x : 77; }
DEVICE u32 to_u32(f64 x) { return x > -1.0 && x < 4294967296.0 ? (u32)x : 78; }
DEVICE i64 to_i64(f64 x) { return x > -9.2e18 && x < 9.2e18 ? (i64)x : 79; }
DEVICE u64 to_u64(f64 x) { return x > -1.0 && x < 1.8e19 ? (u64)x : 80; }
DEVICE i32 narrow_to_i32(f32 x) { return x > -2.147e9f && x < 2.147e9f ? (i32)x : 81; }
DEVICE u32 narrow_to_u32(f32 x) { return x > -1.0f && x < 4.29e9f ? (u32)x : 82; }
DEVICE i64 narrow_to_i64(f32 x) { return x > -9.2e18f && x < 9.2e18f ? (i64)x : 83; }

// What divides by zero would show the zero's sign; the emulator's own tests have that case.
#define DIVISION(T) \
    DEVICE T div_##T(T a, T b) { return b == 0 ? a : (T)(a / b); }
DIVISION(f32)
DIVISION(f64)
DIVISION(f16)

// LLVM leaves open what a signalling NaN does, and the sign of a NaN is nobody's.
DEVICE f32 quiet_f32(f32 a) { return a != a ? __builtin_nanf("") : a; }
DEVICE f64 quiet_f64(f64 a) { return a != a ? __builtin_nan("") : a; }
DEVICE f32 min_f32(f32 a, f32 b) { return __builtin_fminf(quiet_f32(a), quiet_f32(b)); }
DEVICE f32 max_f32(f32 a, f32 b) { return __builtin_fmaxf(quiet_f32(a), quiet_f32(b)); }
DEVICE f64 min_f64(f64 a, f64 b) { return __builtin_fmin(quiet_f64(a), quiet_f64(b)); }
DEVICE f64 max_f64(f64 a, f64 b) { return __builtin_fmax(quiet_f64(a), quiet_f64(b)); }
DEVICE f32 copysign_f32(f32 a, f32 b) { return b != b || b == 0 ? a : __builtin_copysignf(a, b); }
DEVICE f64 copysign_f64(f64 a, f64 b) { return b != b || b == 0 ? a : __builtin_copysign(a, b); }

DEVICE u64 mix(u64 hash, u64 bits) { return (hash ^ bits ^ hash >> 29) * 0x9e3779b97f4a7c15ull; }
