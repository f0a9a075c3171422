// Kernels on vectors: the start state, sums of partial environments, Adam.

// The start state, y[i] = prod_k f_k[the bits of factor k in i]; factors as in factor_at. Grid: any.
extern "C" __global__ void __launch_bounds__(THREADS) product_start(
    REAL *y, const REAL *start, const int *factors, long long count, long long size)
{
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step) {
        REAL v = 1;
        for (int k = 0; k < count; ++k)
            v *= factor_at(start, factors + 3 * k, i);
        y[i] = v;
    }
}

// found[e] = sum_b partials[b][e], in a fixed order: 16 threads a entry take every 16th part, then their sums are
// added one after the other. Grid: entries / 16 blocks of 256 threads.
extern "C" __global__ void __launch_bounds__(THREADS) sum_partials(
    const REAL *partials, REAL *found, long long blocks, long long entries)
{
    const int which = threadIdx.x % 16, turn = threadIdx.x / 16;
    const long long e = (long long)blockIdx.x * 16 + which;
    REAL total = 0;
    if (e < entries)
        for (long long b = turn; b < blocks; b += 16)
            total += partials[b * entries + e];
    shared_memory[threadIdx.x] = total;
    __syncthreads();
    if (turn == 0 && e < entries) {
        for (int t = 1; t < 16; ++t)
            total += shared_memory[16 * t + which];
        found[e] = total;
    }
}

// Adam on stacked parameters, in place; rate[k * each] is the learning rate of entry k. Grid: any.
extern "C" __global__ void __launch_bounds__(THREADS) adam(
    REAL *x, const REAL *g, REAL *first, REAL *second, const double *rate, long long each, long long size,
    double beta1, double beta2, double unbias1, double unbias2, double epsilon)
{
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x; k < size; k += step)
        adam_entry(x + k, g[k], first + k, second + k, rate[k * each], beta1, beta2, unbias1, unbias2, epsilon);
}
