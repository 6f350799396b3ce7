// Products of small matrices: tiles whose sums stay in registers.
#pragma once

#include "vectors.h"

// What happens to a tile beside the product; null or false: nothing.
struct Around {
    const float* bias = nullptr;   // a number for each row, added
    const float* added = nullptr;  // a matrix like the result, added
    const float* gate = nullptr;   // a matrix like the result: 0 wherever it is not positive
    bool relu = false;
};

constexpr int kMostRows = kManyRegisters ? 12 : 6;

// Rows of a tile with so many vectors in each: as many as there are registers for.
static inline int rows_of_tile(int vectors) {
    return vectors % 2 == 1 && vectors > 1 ? (kManyRegisters ? 8 : 4) : kMostRows;
}

// kRows rows with kVectors vectors each: c = a b, summed over `depth`. Row r of `a` has its number k at a[r * pitch + k],
// or where kTransposed at a[k * pitch + r].
template <int kRows, int kVectors, bool kTransposed>
static inline void tile(const float* a, ptrdiff_t pitch, const float* b, ptrdiff_t b_pitch, float* c, ptrdiff_t c_pitch,
                        int depth, const Around& around) {
    Vector sums[kRows][kVectors];
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sums[row][v] = around.bias ? all(around.bias[row]) : Vector{};
    for (int k = 0; k < depth; ++k) {
        Vector right[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) right[v] = load(b + v * kLanes);
#pragma GCC unroll 16
        for (int row = 0; row < kRows; ++row) {
            const Vector left = all(kTransposed ? a[row] : a[row * pitch]);
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; ++v) sums[row][v] += left * right[v];
        }
        a += kTransposed ? pitch : 1;
        b += b_pitch;
    }
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
            const ptrdiff_t place = row * c_pitch + v * kLanes;
            Vector sum = sums[row][v];
            if (around.added) sum += load(around.added + place);
            if (around.relu) sum = not_below_zero(sum);
            if (around.gate) sum = load(around.gate + place) <= Vector{} ? Vector{} : sum;
            store(c + place, sum);
        }
}

// kRows rows with any number of vectors, the last tile first: where rows of the result are narrower than its vectors, what
// is stored beyond the end of a row is overwritten by the next row's beginning.
template <int kRows, bool kTransposed>
static void rows_product(const float* a, ptrdiff_t pitch, const float* b, ptrdiff_t b_pitch, float* c,
                         ptrdiff_t c_pitch, int vectors, int depth, const Around& around) {
    while (vectors > 0) {
        int taken = vectors == 1 ? 1 : 2;
        if constexpr (kRows <= (kManyRegisters ? 8 : 4))
            if (vectors % 2 == 1 && vectors > 1) taken = 3;
        vectors -= taken;
        const ptrdiff_t first = ptrdiff_t(vectors) * kLanes;
        Around here = around;
        if (around.added) here.added += first;
        if (around.gate) here.gate += first;
        if (taken == 1)
            tile<kRows, 1, kTransposed>(a, pitch, b + first, b_pitch, c + first, c_pitch, depth, here);
        else if (taken == 2)
            tile<kRows, 2, kTransposed>(a, pitch, b + first, b_pitch, c + first, c_pitch, depth, here);
        else if constexpr (kRows <= (kManyRegisters ? 8 : 4))
            tile<kRows, 3, kTransposed>(a, pitch, b + first, b_pitch, c + first, c_pitch, depth, here);
    }
}

using RowsProduct = void (*)(const float*, ptrdiff_t, const float*, ptrdiff_t, float*, ptrdiff_t, int, int,
                             const Around&);

template <bool kTransposed, size_t... kRow>
static RowsProduct rows_product_of(int rows, std::index_sequence<kRow...>) {
    static constexpr RowsProduct kAll[] = {rows_product<int(kRow) + 1, kTransposed>...};
    return kAll[rows - 1];
}

// Calls `take(first, rows)` for equal blocks of at most `most` rows.
template <typename Take>
static inline void in_blocks(int rows, int most, Take take) {
    const int blocks = (rows + most - 1) / most;
    for (int block = 0; block < blocks; ++block) {
        const int first = rows * block / blocks;
        take(first, rows * (block + 1) / blocks - first);
    }
}

// Some rows, at most kMostRows, of a product; see `tile`. `a`, `c` and `around` begin with the first of them.
template <bool kTransposed>
static inline void few_rows(int rows, const float* a, ptrdiff_t pitch, const float* b, ptrdiff_t b_pitch, float* c,
                            ptrdiff_t c_pitch, int vectors, int depth, const Around& around) {
    rows_product_of<kTransposed>(rows, std::make_index_sequence<kMostRows>())(a, pitch, b, b_pitch, c, c_pitch, vectors,
                                                                            depth, around);
}

// All rows of a product of `columns` numbers each, a multiple of kLanes, which is also the pitch of `b` and `c`.
template <bool kTransposed>
static void product(const float* a, ptrdiff_t pitch, const float* b, float* c, int rows, int columns, int depth,
                    const Around& around) {
    const int vectors = columns / kLanes;
    in_blocks(rows, rows_of_tile(vectors), [&](int first, int count) {
        const ptrdiff_t place = ptrdiff_t(first) * columns;
        Around here = around;
        if (around.bias) here.bias += first;
        if (around.added) here.added += place;
        if (around.gate) here.gate += place;
        few_rows<kTransposed>(count, a + (kTransposed ? first : first * pitch), pitch, b, columns, c + place, columns,
                              vectors, depth, here);
    });
}

// The transposed matrix: `to` has a row for each of the `columns` of `from`. Both have whole vectors, and `from` has
// whole(rows) rows.
static void transposed(const float* from, int rows, int columns, float* to) {
    const int pitch = whole(rows);
    for (int row = 0; row < rows; row += kLanes)
        for (int column = 0; column < columns; column += kLanes) {
            Vector block[kLanes];
#pragma GCC unroll 16
            for (int lane = 0; lane < kLanes; ++lane)
                block[lane] = load(from + ptrdiff_t(row + lane) * columns + column);
            transpose(block);
#pragma GCC unroll 16
            for (int lane = 0; lane < kLanes; ++lane) store(to + ptrdiff_t(column + lane) * pitch + row, block[lane]);
        }
}
