// Rounds: a few bricks applied to a tile in shared memory, by threads that hold SIDE entries each in registers.
// A round begins with the activation, if it says so. Every entry of the tile belongs to exactly one group of one
// thread, so a round may write over its input; a barrier stands between rounds.

// Y[.., a, ..] = sum_c A[a, c] X[.., c, ..] for a brick on the bits BIT, BIT + 1 of the window.
template <int BIT> __device__ __forceinline__ void mix(const REAL *core, REAL *v)
{
#pragma unroll
    for (int k = 0; k < SIDE / 4; ++k) {
        const int first = ((k >> BIT) << (BIT + 2)) | (k & ((1 << BIT) - 1));
        REAL x[4];
#pragma unroll
        for (int c = 0; c < 4; ++c)
            x[c] = v[first | (c << BIT)];
#pragma unroll
        for (int a = 0; a < 4; ++a)
            v[first | (a << BIT)] = core[4 * a] * x[0] + core[4 * a + 1] * x[1] + core[4 * a + 2] * x[2] + core[4 * a + 3] * x[3];
    }
}

// The adjoint: dA[a, c] += sum G[.., a, ..] X[.., c, ..], then G[.., c, ..] = sum_a A[a, c] G[.., a, ..].
template <int BIT> __device__ __forceinline__ void unmix(const REAL *core, const REAL *v, REAL *g, REAL *sums)
{
#pragma unroll
    for (int k = 0; k < SIDE / 4; ++k) {
        const int first = ((k >> BIT) << (BIT + 2)) | (k & ((1 << BIT) - 1));
        REAL y[4];
#pragma unroll
        for (int a = 0; a < 4; ++a)
            y[a] = g[first | (a << BIT)];
#pragma unroll
        for (int a = 0; a < 4; ++a)
#pragma unroll
            for (int c = 0; c < 4; ++c)
                sums[4 * a + c] += y[a] * v[first | (c << BIT)];
#pragma unroll
        for (int c = 0; c < 4; ++c)
            g[first | (c << BIT)] = core[c] * y[0] + core[4 + c] * y[1] + core[8 + c] * y[2] + core[12 + c] * y[3];
    }
}

// The bit is data, the registers must be named when compiled: one case for each.
__device__ __forceinline__ void mix_at(int bit, const REAL *core, REAL *v)
{
    switch (bit) {
    case 0: mix<0>(core, v); break;
    case 1: mix<1>(core, v); break;
    case 2: mix<2>(core, v); break;
#if WINDOW > 4
    case 3: mix<3>(core, v); break;
#endif
    }
}

__device__ __forceinline__ void unmix_at(int bit, const REAL *core, const REAL *v, REAL *g, REAL *sums)
{
    switch (bit) {
    case 0: unmix<0>(core, v, g, sums); break;
    case 1: unmix<1>(core, v, g, sums); break;
    case 2: unmix<2>(core, v, g, sums); break;
#if WINDOW > 4
    case 3: unmix<3>(core, v, g, sums); break;
#endif
    }
}

__device__ __forceinline__ void read_group(const REAL *tile, int first, int at, REAL *v)
{
#pragma unroll
    for (int r = 0; r < SIDE; ++r)
        v[r] = tile[bank(first | (r << at))];
}

__device__ __forceinline__ void write_group(REAL *tile, int first, int at, const REAL *v)
{
#pragma unroll
    for (int r = 0; r < SIDE; ++r)
        tile[bank(first | (r << at))] = v[r];
}

// One round from the tile `source` into `target`, which may be the same.
__device__ void round_forward(const int *round, const REAL *cores, const REAL *source, REAL *target, int entries)
{
    const int activate = round[0], at = round[1], count = round[2];
    for (int j = threadIdx.x; j < entries / SIDE; j += blockDim.x) {
        const int first = group(j, at);
        REAL v[SIDE];
        read_group(source, first, at, v);
        if (activate)
#pragma unroll
            for (int r = 0; r < SIDE; ++r)
                v[r] = sigma(v[r]);
#pragma unroll 1
        for (int k = 0; k < count; ++k)
            mix_at(round[3 + 2 * k], cores + ENTRIES * round[4 + 2 * k], v);
        write_group(target, first, at, v);
    }
    __syncthreads();
}

// The adjoint of a round: `source` holds the round's input, `g` the cotangent of its output, which is replaced by that
// of its input. The environment of brick number n of the tile is added to found[ENTRIES * n ...]. The states between
// the bricks of the round are made again in registers. Sums run in a fixed order: thread, warp, groups, block.
__device__ void round_back(
    const int *round, const REAL *cores, const REAL *source, REAL *g, int entries, REAL *room, REAL *found)
{
    const int activate = round[0], at = round[1], count = round[2], groups = entries / SIDE;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    // All lanes of a warp take part in its sums, those without a group as well: theirs is made of zeros.
    for (int begin = 0; begin < groups; begin += blockDim.x) {
        const int j = begin + threadIdx.x, first = group(j, at);
        REAL y[SIDE], v[SIDE];
#pragma unroll
        for (int r = 0; r < SIDE; ++r)
            y[r] = v[r] = 0;
        if (j < groups)
            read_group(g, first, at, y);
#pragma unroll 1
        for (int k = count - 1; k >= 0; --k) {
            if (j < groups) {
                read_group(source, first, at, v);
                if (activate)
#pragma unroll
                    for (int r = 0; r < SIDE; ++r)
                        v[r] = sigma(v[r]);
#pragma unroll 1
                for (int before = 0; before < k; ++before)
                    mix_at(round[3 + 2 * before], cores + ENTRIES * round[4 + 2 * before], v);
            }
            REAL sums[ENTRIES];
#pragma unroll
            for (int e = 0; e < ENTRIES; ++e)
                sums[e] = 0;
            unmix_at(round[3 + 2 * k], cores + ENTRIES * round[4 + 2 * k], v, y, sums);
            const REAL sum = warp_sums(sums, lane);
            REAL *mine = room + (warp * MOST + k) * ENTRIES + lane / 2;
            if (lane % 2 == 0)
                *mine = begin ? *mine + sum : sum;
        }
        if (j < groups) {
            if (activate)
#pragma unroll
                for (int r = 0; r < SIDE; ++r)
                    y[r] *= sigma_prime(source[bank(first | (r << at))]);
            write_group(g, first, at, y);
        }
    }
    __syncthreads();
    for (int e = threadIdx.x; e < count * ENTRIES; e += blockDim.x) {
        REAL total = 0;
        for (int w = 0; w < warps; ++w)
            total += room[w * MOST * ENTRIES + e];
        found[ENTRIES * round[4 + 2 * (e / ENTRIES)] + e % ENTRIES] += total;  // always the same thread's
    }
    __syncthreads();
}
