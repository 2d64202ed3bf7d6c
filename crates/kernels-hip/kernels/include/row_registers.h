// A row of numbers to FP8, computed once and kept in registers between its maximum and its codes. What a scale is, see
// row_quantize.h: the same values become the same bytes.
//
// A row is cut where the tensor's 16-byte vectors are, so any row length is read in whole vectors but for its edge: up
// to V - 1 elements before the first and after the last vector that lies inside the row.
#pragma once

#include "bf16.h"
#include "row_quantize.h"

template <typename T, int N> using Vec = T __attribute__((ext_vector_type(N)));

// Elements of type In in 16 bytes.
template <typename In> constexpr unsigned VECTOR = 16 / sizeof(In);

// 16 bytes as they lie in memory.
template <typename In> using Raw = Vec<In, VECTOR<In>>;

template <typename In> __device__ inline Raw<In> load_raw(const In *x) { return *reinterpret_cast<const Raw<In> *>(x); }

template <typename In> __device__ inline void widen(float *values, const Raw<In> &raw) {
#pragma unroll
    for (unsigned e = 0; e < VECTOR<In>; ++e) {
        values[e] = load(raw[e]);
    }
}

// Vectors that a work-item asks for before it waits for one: 4 KiB a wave.
constexpr unsigned BATCH = 4;

// Two codes in the low half. The conversion instruction gives NaN for NaN, and the limits leave it out.
template <typename Format> __device__ inline unsigned to_fp8_pair(float a, float b) {
    const auto limited = [](float x) { return x != x ? x : fminf(fmaxf(x, -Format::MAX), Format::MAX); };
    return Format::convert_pair(limited(a), limited(b));
}

// How many vectors of MAX_KEPT_COLS columns are a work-item's.
constexpr unsigned MAX_KEPT_COLS = 16384;
template <unsigned V> constexpr unsigned NUM_KEPT = MAX_KEPT_COLS / V / ROW_WORKGROUP;

// V codes, in one store.
template <typename Format, unsigned V>
__device__ inline void store_codes(unsigned char *out, const float *values, float scale) {
    Vec<unsigned short, V / 2> codes;
#pragma unroll
    for (unsigned e = 0; e < V / 2; ++e) {
        codes[e] = (unsigned short)to_fp8_pair<Format>(values[2 * e] / scale, values[2 * e + 1] / scale);
    }
    *reinterpret_cast<Vec<unsigned short, V / 2> *>(out) = codes;
}

template <unsigned V> __device__ inline float largest_of(const float *values, float maximum) {
#pragma unroll
    for (unsigned e = 0; e < V; ++e) {
        maximum = fmaxf(maximum, fabsf(values[e]));
    }
    return maximum;
}

// Which vectors of `V` elements lie inside a row, and which element of the edge is this work-item's.
template <unsigned V> struct RowCut {
    unsigned long body;
    unsigned num_vectors;
    // Past every index if it has none.
    unsigned long edge;

    __device__ RowCut(unsigned long begin, unsigned num_cols) {
        const unsigned to_boundary = (V - begin % V) % V;
        const unsigned head = to_boundary < num_cols ? to_boundary : num_cols;
        const unsigned tail = (num_cols - head) % V;
        body = begin + head;
        num_vectors = (num_cols - head) / V;
        edge = ~0ul;
        if (threadIdx.x < head) {
            edge = begin + threadIdx.x;
        } else if (threadIdx.x < head + tail) {
            edge = begin + num_cols - tail + (threadIdx.x - head);
        }
    }

    __device__ bool has_edge() const { return edge != ~0ul; }
};

// Quantizes the `num_cols` numbers of a row with one scale: `given`, or its own if that is null. `N` vectors of a
// work-item, of a work-group of `GROUP` work-items, must cover it. fetch(n, i) loads what the V values from element i on
// need, the work-item's n-th vector, and uses none of it; values_of(n, values) makes them; edge_value(i) makes one.
template <typename Format, unsigned V, unsigned N, unsigned GROUP, typename Fetch, typename Values, typename EdgeValue>
__device__ inline void quantize_kept(unsigned char *out, float *own_scale, const float *given, unsigned long begin,
                                     unsigned num_cols, Fetch fetch, Values values_of, EdgeValue edge_value) {
    __shared__ float shared[GROUP / WAVE_SIZE];
    const RowCut<V> cut(begin, num_cols);
    float values[N][V];
#pragma unroll
    for (unsigned first = 0; first < N; first += BATCH) {
#pragma unroll
        for (unsigned n = first; n < first + BATCH && n < N; ++n) {
            const unsigned vector = threadIdx.x + n * GROUP;
            if (vector < cut.num_vectors) {
                fetch(n, cut.body + vector * V);
            }
        }
#pragma unroll
        for (unsigned n = first; n < first + BATCH && n < N; ++n) {
            if (threadIdx.x + n * GROUP < cut.num_vectors) {
                values_of(n, values[n]);
            }
        }
    }
    const float edge = cut.has_edge() ? edge_value(cut.edge) : 0.0f;
    float scale;
    if (given) {
        scale = *given;
    } else {
        float maximum = fmaxf(0.0f, fabsf(edge));
#pragma unroll
        for (unsigned n = 0; n < N; ++n) {
            if (threadIdx.x + n * GROUP < cut.num_vectors) {
                maximum = largest_of<V>(values[n], maximum);
            }
        }
        scale = fp8_scale<Format>(workgroup_reduce<GROUP / WAVE_SIZE>(maximum, shared, larger_of));
        if (threadIdx.x == 0) {
            *own_scale = scale;
        }
    }
#pragma unroll
    for (unsigned n = 0; n < N; ++n) {
        const unsigned vector = threadIdx.x + n * GROUP;
        if (vector < cut.num_vectors) {
            store_codes<Format, V>(out + cut.body + vector * V, values[n], scale);
        }
    }
    if (cut.has_edge()) {
        out[cut.edge] = to_fp8<Format>(edge / scale);
    }
}

// The largest of the lanes that share a scale group, V columns each.
template <unsigned V> __device__ inline float group_reduce(float maximum) {
    for (unsigned offset = SCALE_GROUP / V / 2; offset > 0; offset /= 2) {
        maximum = fmaxf(maximum, __shfl_xor(maximum, (int)offset, WAVE_SIZE));
    }
    return maximum;
}

// Quantizes a row in groups of SCALE_GROUP columns. Rows are whole vectors, N of a work-item cover one.
template <typename Format, unsigned V, unsigned N, typename Fetch, typename Values>
__device__ inline void quantize_groups_kept(unsigned char *out, float *group_scales, unsigned long begin,
                                            unsigned num_cols, Fetch fetch, Values values_of) {
    const unsigned num_vectors = num_cols / V;
#pragma unroll
    for (unsigned first = 0; first < N; first += BATCH) {
#pragma unroll
        for (unsigned n = first; n < first + BATCH && n < N; ++n) {
            const unsigned vector = threadIdx.x + n * ROW_WORKGROUP;
            if (vector < num_vectors) {
                fetch(n, begin + vector * V);
            }
        }
#pragma unroll
        for (unsigned n = first; n < first + BATCH && n < N; ++n) {
            const unsigned vector = threadIdx.x + n * ROW_WORKGROUP;
            // All lanes of a wave stay for the reduction.
            if (vector / WAVE_SIZE * WAVE_SIZE >= num_vectors) {
                return;
            }
            float values[V];
            const bool is_inside = vector < num_vectors;
            if (is_inside) {
                values_of(n, values);
            }
            const float maximum = group_reduce<V>(is_inside ? largest_of<V>(values, 0.0f) : 0.0f);
            if (is_inside) {
                const float scale = fp8_scale<Format>(maximum);
                if (vector % (SCALE_GROUP / V) == 0) {
                    group_scales[vector / (SCALE_GROUP / V)] = scale;
                }
                store_codes<Format, V>(out + begin + vector * V, values, scale);
            }
        }
    }
}

// The scales of a fused kernel's row, whichever they are, for rows of whole vectors kept in registers.
template <unsigned V> struct KeptRowScales {
    float *made;
    float given;

    template <typename Format, typename Fetch, typename Values>
    __device__ void with_given(unsigned char *out, unsigned long begin, unsigned num_cols, Fetch fetch, Values values_of) const {
        quantize_kept<Format, V, NUM_KEPT<V>, ROW_WORKGROUP>(out, nullptr, &given, begin, num_cols, fetch, values_of,
                                                             [](unsigned long) { return 0.0f; });
    }

    template <typename Format, typename Fetch, typename Values>
    __device__ void by_row(unsigned char *out, unsigned long begin, unsigned num_cols, Fetch fetch, Values values_of) const {
        quantize_kept<Format, V, NUM_KEPT<V>, ROW_WORKGROUP>(out, made + blockIdx.x, nullptr, begin, num_cols, fetch, values_of,
                                                             [](unsigned long) { return 0.0f; });
    }

    template <typename Format, typename Fetch, typename Values>
    __device__ void by_group(unsigned char *out, unsigned long begin, unsigned num_cols, Fetch fetch, Values values_of) const {
        const unsigned num_groups = (num_cols + SCALE_GROUP - 1) / SCALE_GROUP;
        quantize_groups_kept<Format, V, NUM_KEPT<V>>(out, made + (unsigned long)blockIdx.x * num_groups, begin, num_cols,
                                                     fetch, values_of);
    }
};
