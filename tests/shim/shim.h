// CUDA C++ on the CPU, for the tests: one block after the other, its threads as fibers (fast, in a chosen order) or as
// threads of the operating system (for the race detector). Shared memory is one buffer, full of NaN when a block begins.
//
// What this checks: values, indices, barriers. What it cannot: speed, occupancy, the weak order of memory on a GPU.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <pthread.h>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#define __global__
#define __device__
#define __shared__
#define __forceinline__ inline
#define __launch_bounds__(n)

using std::cos, std::erf, std::exp, std::fabs, std::pow, std::sin, std::sqrt, std::tanh;

namespace shim {
struct Index { unsigned x = 0, y = 0, z = 0; };
enum State { READY, AT_BLOCK, AT_WARP, DONE };
constexpr unsigned WARP_SIZE = 32;
constexpr size_t STACK = 64 << 10;

struct Fiber {
    Index thread;
    State state = READY;
    void *stack_pointer = nullptr;
    unsigned exchanges = 0;
};

// The block that is running.
struct Block {
    Index index, grid, size;
    bool threads = false;                              // threads of the operating system instead of fibers
    std::vector<Fiber> fibers;
    std::vector<unsigned char> exchanged;              // 8 bytes a thread, twice
    pthread_barrier_t barrier;
    std::vector<pthread_barrier_t> warp_barriers;
    void *scheduler = nullptr;
    void (*body)(void *) = nullptr;
    void *arguments = nullptr;
};
inline Block block;
inline thread_local Fiber *current = nullptr;
inline int activation = 0;                             // stands for ACT, so that one library has all activations

// Put the registers on the stack, exchange the stacks, take the registers off.
extern "C" void shim_switch(void **from, void *to);
#if defined(__x86_64__)
asm(".text\n.hidden shim_switch\n.globl shim_switch\nshim_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");
constexpr bool HAS_FIBERS = true;
#else
extern "C" void shim_switch(void **, void *) {}
constexpr bool HAS_FIBERS = false;                     // then the threads of the operating system do
#endif

inline void wait(State state)
{
    Fiber *me = current;
    if (block.threads) {
        pthread_barrier_wait(state == AT_BLOCK ? &block.barrier : &block.warp_barriers[me->thread.x / WARP_SIZE]);
        return;
    }
    me->state = state;
    shim_switch(&me->stack_pointer, block.scheduler);
}

inline void entry()
{
    block.body(block.arguments);
    wait(DONE);
}

// Let the threads that may go on do so, in the order; then lift the barriers at which all have arrived.
inline void run_fibers(int order, std::mt19937 &random)
{
    static std::vector<std::unique_ptr<unsigned char[]>> stacks;
    const size_t count = block.fibers.size();
    while (stacks.size() < count)
        stacks.emplace_back(new unsigned char[STACK]);
    std::vector<size_t> turns(count);
    std::iota(turns.begin(), turns.end(), 0);
    if (order == 1)
        std::reverse(turns.begin(), turns.end());
    for (size_t k = 0; k < count; ++k) {
        auto top = (reinterpret_cast<uintptr_t>(stacks[k].get()) + STACK) & ~uintptr_t(15);
        void **frame = reinterpret_cast<void **>(top) - 8;
        std::memset(frame, 0, 8 * sizeof(void *));
        frame[6] = reinterpret_cast<void *>(&entry);   // where the first switch returns to
        block.fibers[k].stack_pointer = frame;
    }
    for (;;) {
        if (order == 2)
            std::shuffle(turns.begin(), turns.end(), random);
        bool went_on = false;
        for (size_t k : turns)
            if (block.fibers[k].state == READY) {
                current = &block.fibers[k];
                shim_switch(&block.scheduler, current->stack_pointer);
                went_on = true;
            }
        size_t at_block = 0, done = 0;
        for (const Fiber &fiber : block.fibers)
            at_block += fiber.state == AT_BLOCK, done += fiber.state == DONE;
        if (done == count)
            return;
        for (size_t first = 0; first < count; first += WARP_SIZE) {
            bool all = true;
            for (size_t k = first; k < std::min(count, first + WARP_SIZE); ++k)
                all = all && block.fibers[k].state == AT_WARP;
            for (size_t k = first; all && k < std::min(count, first + WARP_SIZE); ++k)
                block.fibers[k].state = READY, went_on = true;
        }
        if (at_block == count)
            for (Fiber &fiber : block.fibers)
                fiber.state = READY, went_on = true;
        if (!went_on)
            throw std::runtime_error("the threads of a block wait at different barriers");
    }
}

inline void run_threads()
{
    const size_t count = block.fibers.size(), warps = (count + WARP_SIZE - 1) / WARP_SIZE;
    pthread_barrier_init(&block.barrier, nullptr, count);
    block.warp_barriers.resize(warps);
    for (size_t w = 0; w < warps; ++w)
        pthread_barrier_init(&block.warp_barriers[w], nullptr, std::min<size_t>(WARP_SIZE, count - w * WARP_SIZE));
    std::vector<std::thread> running;
    for (Fiber &fiber : block.fibers)
        running.emplace_back([&fiber] { current = &fiber; block.body(block.arguments); });
    for (std::thread &thread : running)
        thread.join();
    pthread_barrier_destroy(&block.barrier);
    for (pthread_barrier_t &barrier : block.warp_barriers)
        pthread_barrier_destroy(&barrier);
}

// Every block of a grid, in the order too: 0 ascending, 1 descending, 2 shuffled.
template <class Real>
void launch(Index grid, unsigned threads, size_t shared, int order, int mode, Real *memory, size_t room,
            void (*body)(void *), void *arguments)
{
    std::mt19937 random(20230506);
    std::vector<size_t> turns(size_t(grid.x) * grid.y);
    std::iota(turns.begin(), turns.end(), 0);
    if (order == 1)
        std::reverse(turns.begin(), turns.end());
    if (order == 2)
        std::shuffle(turns.begin(), turns.end(), random);
    if (shared > room * sizeof(Real) || threads > 1024 || !threads)
        throw std::runtime_error("a block of " + std::to_string(threads) + " threads with " + std::to_string(shared)
                                 + " bytes of shared memory");
    for (size_t k : turns) {
        block.index = {unsigned(k % grid.x), unsigned(k / grid.x)};
        block.grid = grid, block.size = {threads, 1, 1};
        block.threads = mode == 1 || !HAS_FIBERS;
        block.body = body, block.arguments = arguments;
        block.fibers.assign(threads, Fiber());
        block.exchanged.assign(threads * 16, 0);
        for (unsigned t = 0; t < threads; ++t)
            block.fibers[t].thread = {t, 0, 0};
#if defined(__SANITIZE_ADDRESS__)
        ASAN_UNPOISON_MEMORY_REGION(memory, room * sizeof(Real));
#endif
        std::fill(memory, memory + (shared + sizeof(Real) - 1) / sizeof(Real), std::numeric_limits<Real>::quiet_NaN());
#if defined(__SANITIZE_ADDRESS__)
        ASAN_POISON_MEMORY_REGION(reinterpret_cast<char *>(memory) + shared, room * sizeof(Real) - shared);
#endif
        if (block.threads)
            run_threads();
        else
            run_fibers(order, random);
    }
}

// The value of the lane whose number differs in the bits `other`; two buffers in turn, so that one barrier is enough.
template <class Real> Real exchange(Real value, int other)
{
    Fiber *me = current;
    const unsigned lane = me->thread.x;
    unsigned char *buffer = block.exchanged.data() + (me->exchanges++ % 2) * 8 * block.fibers.size();
    std::memcpy(buffer + 8 * lane, &value, sizeof(Real));
    wait(AT_WARP);
    std::memcpy(&value, buffer + 8 * (lane ^ unsigned(other)), sizeof(Real));
    return value;
}

// Call a kernel with pointers to its arguments, as CUDA's own cuLaunchKernel does.
template <class... A, size_t... I> void apply(void (*kernel)(A...), void **arguments, std::index_sequence<I...>)
{
    kernel(*static_cast<std::remove_const_t<A> *>(arguments[I])...);
}
template <class... A> void call(void (*kernel)(A...), void **arguments)
{
    apply(kernel, arguments, std::index_sequence_for<A...>());
}
inline char message[256];
}  // namespace shim

#define threadIdx (shim::current->thread)
#define blockIdx (shim::block.index)
#define blockDim (shim::block.size)
#define gridDim (shim::block.grid)
inline void __syncthreads() { shim::wait(shim::AT_BLOCK); }
template <class Real> Real __shfl_xor_sync(unsigned, Real value, int other) { return shim::exchange(value, other); }

// A function run_NAME that ctypes can call; it returns 0, or 1 with a message.
#define SHIM_KERNEL(NAME)                                                                                              \
    extern "C" int run_##NAME(unsigned x, unsigned y, unsigned threads, size_t shared, int order, int mode, int act,   \
                              void **arguments)                                                                        \
    {                                                                                                                  \
        shim::activation = act;                                                                                        \
        try {                                                                                                          \
            shim::launch<REAL>({x, y, 1}, threads, shared, order, mode, shared_memory, SHIM_ROOM,                      \
                               [](void *a) { shim::call(NAME, static_cast<void **>(a)); }, arguments);                 \
            return 0;                                                                                                  \
        } catch (const std::exception &error) {                                                                        \
            std::strncpy(shim::message, error.what(), sizeof shim::message - 1);                                       \
            return 1;                                                                                                  \
        }                                                                                                              \
    }
