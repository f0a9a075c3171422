// What all kernels share. The host puts these definitions in front of the source:
//   REAL     float or double
//   ACT      number of the activation, in the order of the list below
//   WINDOW   bits of the values that one thread holds in registers, SIDE = 2^WINDOW of them
//   MOST     most bricks that one round applies to them
//   THREADS  most threads of a block
// All indices into states are long long: a state may have more than 2^31 entries.

#define SIDE (1 << WINDOW)
#define ENTRIES 16  // of a brick: a 4 x 4 matrix, outputs x inputs
#define WARP 32
#define ALL_LANES 0xffffffffu
#define ROUND (3 + 2 * MOST)  // integers of a round: activate, at, count, and (bit, number) of each brick
#define OP 4                  // integers of a step of a walk: kind, round, source slot, target slot

enum { IDENTITY, RELU, LEAKY_RELU, TANH, SIGMOID, GELU, SILU, SIN };
enum { FORWARD, BACK, LOSS };

extern __shared__ REAL shared_memory[];

__device__ __forceinline__ REAL logistic(REAL z)
{
    // Of -|z| alone, so that nothing overflows.
    REAL e = exp(-fabs(z));
    return z >= (REAL)0 ? (REAL)1 / ((REAL)1 + e) : e / ((REAL)1 + e);
}

__device__ __forceinline__ REAL sigma(REAL z)
{
    switch (ACT) {
    case RELU: return z > (REAL)0 ? z : (REAL)0;
    case LEAKY_RELU: return z > (REAL)0 ? z : (REAL)0.01 * z;
    case TANH: return tanh(z);
    case SIGMOID: return logistic(z);
    case GELU: return (REAL)0.5 * z * ((REAL)1 + erf(z * (REAL)0.70710678118654752440));
    case SILU: return z * logistic(z);
    case SIN: return sin(z);
    default: return z;
    }
}

// The derivative of sigma at z; 0 at 0 for relu, as in the convention.
__device__ __forceinline__ REAL sigma_prime(REAL z)
{
    switch (ACT) {
    case RELU: return z > (REAL)0 ? (REAL)1 : (REAL)0;
    case LEAKY_RELU: return z > (REAL)0 ? (REAL)1 : (REAL)0.01;
    case TANH: { REAL x = tanh(z); return (REAL)1 - x * x; }
    case SIGMOID: { REAL s = logistic(z); return s * ((REAL)1 - s); }
    case GELU:
        return (REAL)0.5 * ((REAL)1 + erf(z * (REAL)0.70710678118654752440))
             + z * exp((REAL)-0.5 * z * z) * (REAL)0.39894228040143267794;
    case SILU: { REAL s = logistic(z); return s + z * s * ((REAL)1 - s); }
    case SIN: return cos(z);
    default: return (REAL)1;
    }
}

// Where entry i of a tile of block number `block` stands in the state. A tile is the `low` lowest bits of the index
// and the `high` bits from `shift` on; the block's number holds the bits between them and those above.
__device__ __forceinline__ long long place(long long i, long long block, int low, int high, int shift)
{
    long long inner = i & ((1LL << low) - 1), outer = i >> low;
    long long middle = block & ((1LL << (shift - low)) - 1), top = block >> (shift - low);
    return inner | (middle << low) | (outer << shift) | (top << (shift + high));
}

// Where entry i of a tile stands in shared memory: so that a warp that reads with any stride of a power of two meets
// at most two lanes in one bank.
__device__ __forceinline__ int bank(int i)
{
    return i ^ ((i >> 5) & 31);
}

// The entry of a tile at which group j of SIDE entries begins, whose indices differ in the bits at ... at+WINDOW-1.
__device__ __forceinline__ int group(int j, int at)
{
    return ((j >> at) << (at + WINDOW)) | (j & ((1 << at) - 1));
}

// Half of the entries go to the lane that differs in one bit, half come from it.
template <int HALF> __device__ __forceinline__ void halve(REAL *v, int lane)
{
    bool upper = (lane & (2 * HALF)) != 0;
#pragma unroll
    for (int k = 0; k < HALF; ++k) {
        REAL sent = upper ? v[k] : v[k + HALF], kept = upper ? v[k + HALF] : v[k];
        v[k] = kept + __shfl_xor_sync(ALL_LANES, sent, 2 * HALF);
    }
}

// The sum over a warp of each of 16 entries, in 16 exchanges: lane l returns that of entry l / 2.
__device__ __forceinline__ REAL warp_sums(REAL *v, int lane)
{
    halve<8>(v, lane);
    halve<4>(v, lane);
    halve<2>(v, lane);
    halve<1>(v, lane);
    return v[0] + __shfl_xor_sync(ALL_LANES, v[0], 1);
}

// The sum of one number of every thread of a block, in a fixed order; `room` holds a number a warp.
__device__ __forceinline__ REAL block_sum(REAL v, REAL *room)
{
#pragma unroll
    for (int bit = WARP / 2; bit; bit /= 2)
        v += __shfl_xor_sync(ALL_LANES, v, bit);
    if (threadIdx.x % WARP == 0)
        room[threadIdx.x / WARP] = v;
    __syncthreads();
    REAL total = 0;
    for (int w = 0; w < (int)blockDim.x / WARP; ++w)
        total += room[w];
    __syncthreads();
    return total;
}

// factors: for each factor of the product where its entries begin (-1: the unit vector (1, 0, ...)), the position of
// its lowest bit, and the number of its bits.
__device__ __forceinline__ REAL factor_at(const REAL *start, const int *factor, long long i)
{
    long long e = (i >> factor[1]) & ((1LL << factor[2]) - 1);
    return factor[0] < 0 ? (REAL)(e == 0) : start[factor[0] + e];
}

// One entry of Adam (Kingma and Ba, arXiv 1412.6980), in place. unbias1 = 1 - beta1^(step + 1), with the step counted
// from 0, and unbias2 = sqrt(1 - beta2^(step + 1)).
__device__ __forceinline__ void adam_entry(
    REAL *x, REAL g, REAL *first, REAL *second, double rate, double beta1, double beta2, double unbias1, double unbias2,
    double epsilon)
{
    // Numbers of the host are rounded once, 1 - beta and rate / unbias1 among them.
    *first = (REAL)beta1 * *first + (REAL)(1 - beta1) * g;
    *second = (REAL)beta2 * *second + (REAL)(1 - beta2) * (g * g);
    *x -= (REAL)(rate / unbias1) * (*first / (sqrt(*second) / (REAL)unbias2 + (REAL)epsilon));
}
