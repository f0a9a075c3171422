// One window of a step: Y[L, a, R] = sum_c K[a, c] sigma(X[L, c, R]) for a small matrix K of any size: expansions and
// mixings of trees and MERA, and brick-walls whose modes are not binary. Grid: blocks that take `pairs` columns
// (L, R) at a time, in turn. A warp's lanes hold neighbouring columns and one row: K is broadcast.

__device__ __forceinline__ long long column(long long pair, long long side, long long right)
{
    return pair / right * side * right + pair % right;
}

// tile[c][p] of the columns first ... first + pairs - 1; absent ones are 0. A row has pairs + 1 entries: no bank conflicts.
__device__ void read_columns(
    const REAL *x, long long first, long long count, int pairs, long long side, long long right, int activate, REAL *tile)
{
    for (long long e = threadIdx.x; e < side * pairs; e += blockDim.x) {
        const long long c = e / pairs, p = e % pairs;
        REAL v = 0;
        if (first + p < count) {
            v = x[column(first + p, side, right) + c * right];
            if (activate)
                v = sigma(v);
        }
        tile[c * (pairs + 1) + p] = v;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) window_forward(
    const REAL *x, REAL *y, const REAL *matrix, long long rows, long long columns, long long left, long long right,
    long long pairs, long long activate)
{
    const long long count = left * right;
    REAL *tile = shared_memory;
    for (long long first = blockIdx.x * pairs; first < count; first += gridDim.x * pairs) {
        read_columns(x, first, count, pairs, columns, right, activate, tile);
        __syncthreads();
        for (long long e = threadIdx.x; e < rows * pairs; e += blockDim.x) {
            const long long a = e / pairs, p = e % pairs;
            REAL total = 0;
            for (long long c = 0; c < columns; ++c)
                total += matrix[a * columns + c] * tile[c * (pairs + 1) + p];
            if (first + p < count)
                y[column(first + p, rows, right) + a * right] = total;
        }
        __syncthreads();
    }
}

// Gx[L, c, R] = sigma'(X[L, c, R]) sum_a K[a, c] G[L, a, R], and the block's part of the environment
// E[a, c] = sum_{L,R} G[L, a, R] sigma(X[L, c, R]), each entry of which belongs to one thread.
extern "C" __global__ void __launch_bounds__(THREADS) window_backward(
    const REAL *x, const REAL *g, REAL *gx, REAL *partials, const REAL *matrix, long long rows, long long columns,
    long long left, long long right, long long pairs, long long activate)
{
    const long long count = left * right;
    REAL *tile = shared_memory, *cotangent = tile + columns * (pairs + 1);
    REAL *found = partials + blockIdx.x * rows * columns;
    for (long long e = threadIdx.x; e < rows * columns; e += blockDim.x)
        found[e] = 0;
    for (long long first = blockIdx.x * pairs; first < count; first += gridDim.x * pairs) {
        read_columns(x, first, count, pairs, columns, right, activate, tile);
        read_columns(g, first, count, pairs, rows, right, 0, cotangent);
        __syncthreads();
        for (long long e = threadIdx.x; e < columns * pairs; e += blockDim.x) {
            const long long c = e / pairs, p = e % pairs;
            if (first + p < count) {
                REAL total = 0;
                for (long long a = 0; a < rows; ++a)
                    total += matrix[a * columns + c] * cotangent[a * (pairs + 1) + p];
                const long long at = column(first + p, columns, right) + c * right;
                gx[at] = activate ? sigma_prime(x[at]) * total : total;
            }
        }
        for (long long e = threadIdx.x; e < rows * columns; e += blockDim.x) {
            const REAL *v = tile + e % columns * (pairs + 1), *w = cotangent + e / columns * (pairs + 1);
            REAL total = 0;
            for (long long p = 0; p < pairs; ++p)
                total += w[p] * v[p];
            found[e] += total;
        }
        __syncthreads();
    }
}
