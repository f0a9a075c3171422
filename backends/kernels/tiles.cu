// One pass over the state: tiles of 2^bits entries go through shared memory, where all bricks of the pass that lie in
// the tile's bits are applied, and activations between them.
// Forward, the grid is the tiles of a state; backward, as many blocks as run at once.
// Shared memory: cores of the pass | (backward: room for sums) | one tile a slot | (backward: the cotangent's tile).

__device__ void copy_cores(const REAL *cores, const int *bricks, int count, REAL *target)
{
    for (int e = threadIdx.x; e < count * ENTRIES; e += blockDim.x)
        target[e] = cores[ENTRIES * bricks[e / ENTRIES] + e % ENTRIES];
}

__device__ void read_tile(const REAL *x, long long block, long long size, int low, int high, int shift, REAL *tile)
{
    for (int i = threadIdx.x; i < 1 << (low + high); i += blockDim.x) {
        long long p = place(i, block, low, high, shift);
        tile[bank(i)] = p < size ? x[p] : (REAL)0;  // a state of fewer than SIDE entries fills a part of its tile
    }
}

__device__ void write_tile(
    const REAL *tile, long long block, long long size, int low, int high, int shift, REAL *y)
{
    for (int i = threadIdx.x; i < 1 << (low + high); i += blockDim.x) {
        long long p = place(i, block, low, high, shift);
        if (p < size)
            y[p] = tile[bank(i)];
    }
}

// table: numbers of the pass's bricks | rounds.
extern "C" __global__ void __launch_bounds__(THREADS) tile_forward(
    const REAL *x, REAL *y, const REAL *cores, const int *table, long long at, long long bricks, long long rounds,
    long long size, long long low, long long high, long long shift)
{
    const int *numbers = table + at, *program = numbers + bricks;
    const int entries = 1 << (low + high);
    REAL *mine = shared_memory, *tile = mine + bricks * ENTRIES;
    copy_cores(cores, numbers, bricks, mine);
    read_tile(x, blockIdx.x, size, low, high, shift, tile);
    __syncthreads();
    for (int k = 0; k < rounds; ++k)
        round_forward(program + ROUND * k, mine, tile, tile, entries);
    write_tile(tile, blockIdx.x, size, low, high, shift, y);
}

// table: numbers of the pass's bricks | rounds | steps of the walk back. A block takes tiles in turn, as many blocks as
// the device runs at once. Of its slots the first `spilled` lie in `scratch`, small enough for the level-2 cache. What it
// adds up goes to partials[block][brick of the pass][16]; sum_partials adds up the blocks. gx may be g.
extern "C" __global__ void __launch_bounds__(THREADS) tile_backward(
    const REAL *x, const REAL *g, REAL *gx, REAL *partials, REAL *scratch, const REAL *cores, const int *table,
    long long at, long long bricks, long long rounds, long long ops, long long slots, long long spilled,
    long long size, long long tiles, long long low, long long high, long long shift)
{
    const int *numbers = table + at, *program = numbers + bricks, *walk = program + ROUND * rounds;
    const int entries = 1 << (low + high);
    const long long block = blockIdx.x;
    REAL *mine = shared_memory, *room = mine + bricks * ENTRIES;
    REAL *kept = room + blockDim.x / WARP * MOST * ENTRIES, *cotangent = kept + (slots - spilled) * entries;
    REAL *found = partials + block * bricks * ENTRIES;
    scratch += block * spilled * entries;
    copy_cores(cores, numbers, bricks, mine);
    for (int e = threadIdx.x; e < bricks * ENTRIES; e += blockDim.x)
        found[e] = 0;
    for (long long tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        REAL *input = spilled ? scratch : kept;
        read_tile(x, tile, size, low, high, shift, input);
        read_tile(g, tile, size, low, high, shift, cotangent);
        __syncthreads();
        for (int k = 0; k < ops; ++k) {
            const int *op = walk + OP * k, *round = program + ROUND * op[1];
            REAL *source = op[2] < spilled ? scratch + op[2] * entries : kept + (op[2] - spilled) * entries;
            REAL *target = op[3] < spilled ? scratch + op[3] * entries : kept + (op[3] - spilled) * entries;
            if (op[0] == FORWARD) {
                round_forward(round, mine, source, target, entries);
                continue;
            }
            if (op[2] < spilled) {
                // A round back reads its input once a brick. The slots after this one are free by now, so it is fetched.
                REAL *last = kept + (slots - spilled - 1) * entries;
                for (int i = threadIdx.x; i < entries; i += blockDim.x)
                    last[i] = source[i];
                __syncthreads();
                source = last;
            }
            round_back(round, mine, source, cotangent, entries, room, found);
        }
        write_tile(cotangent, tile, size, low, high, shift, gx);
        __syncthreads();  // the tile is read before the next one is written over it
    }
}
