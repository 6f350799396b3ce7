// Vectors of floats as wide as the CPU's registers, by GCC's and Clang's vector extensions: no intrinsics of one CPU.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

// AVX-512 and 64-bit ARM have 32 vector registers, other x86 CPUs have 16.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr bool kManyRegisters = true;
#else
constexpr bool kManyRegisters = false;
#endif

typedef float Vector __attribute__((vector_size(kLanes * sizeof(float)), may_alias));
typedef int32_t Integers __attribute__((vector_size(kLanes * sizeof(int32_t)), may_alias));
// The same at any address: loads and stores of the models' tensors, which are aligned as torch aligns them.
typedef float Unaligned __attribute__((vector_size(kLanes * sizeof(float)), aligned(sizeof(float)), may_alias));

static inline Vector load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }
static inline void store(float* to, Vector value) { *reinterpret_cast<Unaligned*>(to) = value; }
static inline Vector all(float value) { return value - Vector{}; }
static inline Vector maximum(Vector one, Vector other) { return one > other ? one : other; }
static inline Vector not_below_zero(Vector value) { return value < Vector{} ? Vector{} : value; }  // NaN stays NaN

static inline Vector square_root(Vector value) {
    alignas(sizeof(Vector)) float lanes[kLanes];
    store(lanes, value);
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = __builtin_sqrtf(lanes[lane]);
    return load(lanes);
}

// Rounds up to whole vectors.
static inline int whole(int count) { return (count + kLanes - 1) / kLanes * kLanes; }

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLED(one, other, ...) __builtin_shufflevector(one, other, __VA_ARGS__)
#else
#define SHUFFLED(one, other, ...) __builtin_shuffle(one, other, Integers{__VA_ARGS__})
#endif

// Exchanges the upper right and the lower left quarter of every block of 2 × kHalf rows and columns.
template <int kHalf, size_t... kLane>
static inline void exchange(Vector& upper, Vector& lower, std::index_sequence<kLane...>) {
    const Vector one = upper, other = lower;
    upper = SHUFFLED(one, other, int(kLane & kHalf ? kLanes + (kLane ^ kHalf) : kLane)...);
    lower = SHUFFLED(one, other, int(kLane & kHalf ? kLanes + kLane : kLane ^ kHalf)...);
}

template <int kHalf>
static inline void exchange_all(Vector (&rows)[kLanes]) {
#pragma GCC unroll 16
    for (int row = 0; row < kLanes; ++row)
        if (!(row & kHalf)) exchange<kHalf>(rows[row], rows[row | kHalf], std::make_index_sequence<kLanes>());
    if constexpr (kHalf > 1) exchange_all<kHalf / 2>(rows);
}

// Transposes a square of kLanes rows in registers.
static inline void transpose(Vector (&rows)[kLanes]) { exchange_all<kLanes / 2>(rows); }

// Sums of `count` rows of vectors, one per lane of the result: lane r has the sum of rows[r].
static inline Vector sums_of(Vector (&rows)[kLanes]) {
    transpose(rows);
    Vector sum = rows[0];
#pragma GCC unroll 16
    for (int row = 1; row < kLanes; ++row) sum += rows[row];
    return sum;
}

// e to the power of x, for x of at most 88, to 2 units in the last place; below -87 the smallest normal number.
// Cody and Waite's reduction with the polynomial of Cephes' expf.
static inline Vector exponential(Vector x) {
    const Vector least = all(-87.0f);
    x = x < least ? least : x;  // NaN stays NaN
    const Vector shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the sum's last bits are the rounded quotient
    const Vector quotient = shifted - 12582912.0f;
    Vector rest = x - quotient * 0.693359375f;
    rest = rest - quotient * -2.12194440e-4f;
    Vector series = rest * 1.9875691500e-4f + 1.3981999507e-3f;
    series = series * rest + 8.3334519073e-3f;
    series = series * rest + 4.1665795894e-2f;
    series = series * rest + 1.6666665459e-1f;
    series = series * rest + 5.0000001201e-1f;
    series = series * rest * rest + rest + 1.0f;
    const Integers power = reinterpret_cast<const Integers&>(shifted) << 23;
    const Integers result = reinterpret_cast<const Integers&>(series) + power;
    return reinterpret_cast<const Vector&>(result);
}
