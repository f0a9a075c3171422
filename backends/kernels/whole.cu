// A whole network in one block, for at most 12 modes, and many networks in one launch: the start product, all layers,
// the loss, all environments, and Adam, `steps` times. Grid: networks. A network's parameters are
// bricks of 16 entries each | entries of the start's factors.
// Shared memory: cores | room for sums | one tile a slot | the cotangent's tile.

// factors: see product_start; table: factors | rounds | steps of the walk.
struct Whole
{
    const int *factors, *program, *walk;
    int bricks, ops, count, entries, size, slots;
};

// dF_k[a] = sum over the i whose bits of factor k are a of g[i] prod_{j != k} f_j[i].
__device__ void start_back(const Whole &net, const REAL *start, const REAL *g, REAL *room, REAL *found)
{
    for (int k = 0; k < net.count; ++k) {
        const int *mine = net.factors + 3 * k;
        if (mine[0] < 0)
            continue;
        for (int a = 0; a < 1 << mine[2]; ++a) {
            REAL total = 0;
            // The indices whose bits at mine[1] ... are a, one after the other.
            for (int j = threadIdx.x; j < net.size >> mine[2]; j += blockDim.x) {
                int below = j & ((1 << mine[1]) - 1);
                int i = ((j - below) << mine[2]) | (a << mine[1]) | below;
                REAL v = g[bank(i)];
                for (int other = 0; other < net.count; ++other)
                    if (other != k)
                        v *= factor_at(start, net.factors + 3 * other, i);
                total += v;
            }
            total = block_sum(total, room);
            if (threadIdx.x == 0)
                found[mine[0] + a] = total;
        }
    }
}

// With `pull` 0, g = d/dW sum (W - T)^2 / sum T^2 over the first `wanted` entries, and the loss is returned; with
// `pull` 1, g = T, a given cotangent, and <T, W> is returned. The generated numbers go to `made`, if that is not null.
__device__ REAL loss_of(
    const Whole &net, const REAL *state, const REAL *target, int wanted, int pull, REAL *room, REAL *g, REAL *made)
{
    REAL norm = 0, loss = 0;
    for (int i = threadIdx.x; i < wanted; i += blockDim.x) {
        REAL t = target[i], w = state[bank(i)];
        norm += t * t;
        loss += pull ? t * w : (w - t) * (w - t);
    }
    norm = block_sum(norm, room);
    loss = block_sum(loss, room);
    for (int i = threadIdx.x; i < net.entries; i += blockDim.x) {
        REAL w = state[bank(i)];
        g[bank(i)] = i >= wanted ? (REAL)0 : pull ? target[i] : (REAL)2 * (w - target[i]) / norm;
        if (made && i < net.size)
            made[i] = w;
    }
    __syncthreads();
    return pull ? loss : loss / norm;
}

// Loss and gradient of one network whose parameters are at `cores`, whose gradient goes to `found`.
__device__ REAL gradient(
    const Whole &net, const REAL *cores, const REAL *target, int wanted, int pull, REAL *found, REAL *made)
{
    REAL *mine = shared_memory, *room = mine + net.bricks * ENTRIES;
    REAL *tiles = room + blockDim.x / WARP * MOST * ENTRIES, *g = tiles + net.slots * net.entries;
    const REAL *start = cores + net.bricks * ENTRIES;
    for (int e = threadIdx.x; e < net.bricks * ENTRIES; e += blockDim.x)
        mine[e] = cores[e], found[e] = 0;
    for (int i = threadIdx.x; i < net.entries; i += blockDim.x) {
        REAL v = i < net.size ? (REAL)1 : (REAL)0;
        for (int k = 0; k < net.count; ++k)
            v *= factor_at(start, net.factors + 3 * k, i & (net.size - 1));
        tiles[bank(i)] = v;
    }
    __syncthreads();
    REAL loss = 0;
    for (int k = 0; k < net.ops; ++k) {
        const int *op = net.walk + OP * k, *round = net.program + ROUND * op[1];
        REAL *source = tiles + op[2] * net.entries;
        if (op[0] == FORWARD)
            round_forward(round, mine, source, tiles + op[3] * net.entries, net.entries);
        else if (op[0] == BACK)
            round_back(round, mine, source, g, net.entries, room, found);
        else
            loss = loss_of(net, source, target, wanted, pull, room, g, made);
    }
    start_back(net, start, g, room, found + net.bricks * ENTRIES);
    return loss;
}

// With steps = 0 the gradient alone; else that many steps of Adam, rates[k] the learning rate of step first_step + k.
// losses[network][k]; the last gradient is left in `found`.
extern "C" __global__ void __launch_bounds__(THREADS) whole_network(
    REAL *cores, REAL *found, REAL *losses, const REAL *target, REAL *made, REAL *first, REAL *second,
    const double *rates, const int *table, long long factors, long long bricks, long long parameters, long long rounds,
    long long ops, long long slots, long long entries, long long size, long long wanted, long long pull,
    long long steps, long long first_step, double beta1, double beta2, double epsilon)
{
    Whole net;
    net.factors = table;
    net.program = table + 3 * factors;
    net.walk = net.program + ROUND * rounds;
    net.bricks = bricks;
    net.ops = ops;
    net.count = factors;
    net.entries = entries;
    net.size = size;
    net.slots = slots;
    const long long n = blockIdx.x;
    cores += n * parameters;
    found += n * parameters;
    const long long turns = steps ? steps : 1;
    for (long long k = 0; k < turns; ++k) {
        REAL loss = gradient(net, cores, target + n * wanted, wanted, pull, found, made ? made + n * size : made);
        if (threadIdx.x == 0)
            losses[n * turns + k] = loss;
        __syncthreads();  // all of `found` is written
        if (steps) {
            const double unbias1 = 1 - pow(beta1, (double)(first_step + k + 1));
            const double unbias2 = sqrt(1 - pow(beta2, (double)(first_step + k + 1)));
            for (long long e = threadIdx.x; e < parameters; e += blockDim.x)
                adam_entry(cores + e, found[e], first + n * parameters + e, second + n * parameters + e,
                           rates[k], beta1, beta2, unbias1, unbias2, epsilon);
            __syncthreads();  // all parameters are written before the next step reads them
        }
    }
}
