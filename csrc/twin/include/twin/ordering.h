// What orders two accesses to the same bytes on this architecture, one row per rule. Accesses that
// no row orders count as unordered, however the hardware may behave. The sanitizer derives its
// order from these rules only, and tests/cpp/test_twin_ordering.cpp has kernels for every row.
#pragma once

#include <cstdint>

namespace twin {

enum class Order : uint8_t {
    kItself,
    kEvent,
    kPipeBarrier,
    kAllBarrier,
    kAccumulation,
    kScalar,
    kIssue,
    kCrossFlag,
    kCrossWait,
    kAtomic,
};

/// One rule, and where it is documented.
struct OrderingRow {
    Order order;
    const char* accesses;    ///< whose accesses the rule orders
    const char* ordered_by;  ///< what orders them
    const char* page;        ///< page of the Ascend C documentation
};

constexpr OrderingRow kOrdering[] = {
    {Order::kItself, "an instruction and itself",
     "the instruction; which operands may overlap has checks of its own", "通用说明和约束"},
    {Order::kEvent, "two pipes of a core",
     "SetFlag on the first, which follows all that pipe was given, and WaitFlag on the second, "
     "which holds all that pipe is given later; of one event and id. EnQue and DeQue of a queue "
     "are "
     "such a pair, as are FreeTensor and AllocTensor back (guide, TPipe-TQue框架编程原理)",
     "同步控制/核内同步/SetFlag-WaitFlag(ISASI)"},
    {Order::kPipeBarrier, "a pipe of a core after itself, UB or GM",
     "PipeBarrier of that pipe; a pipe starts in order, but does not finish in order",
     "同步控制/核内同步/PipeBarrier(ISASI)"},
    {Order::kAllBarrier, "any two pipes of a core, the scalar unit among them",
     "PipeBarrier<PIPE_ALL>, which waits for all that any pipe was given",
     "同步控制/核内同步/PipeBarrier(ISASI)"},
    {Order::kAccumulation, "an Mmad that adds to what an earlier Mmad left in L0C",
     "the cube, where m / 16 * n / 16 is at least 10 for both; PipeBarrier<PIPE_M> below",
     "矩阵计算（ISASI）/Mmad计算/Mmad"},
    {Order::kScalar, "the scalar unit after itself", "program order",
     "同步控制/核内同步/PipeBarrier(ISASI)"},
    {Order::kIssue, "any pipe after what the scalar unit has waited for",
     "the scalar unit, which hands out the instructions of all pipes",
     "高级编程/硬件实现/基本架构"},
    {Order::kCrossFlag, "two cores",
     "CrossCoreSetFlag on the pipe of the first access and behind it, by every core of the group, "
     "and CrossCoreWaitFlag before the second access",
     "同步控制/核间同步/CrossCoreSetFlag(ISASI)"},
    {Order::kCrossWait, "any pipe of a core after CrossCoreWaitFlag",
     "the wait, which holds every later instruction of all pipes",
     "同步控制/核间同步/CrossCoreWaitFlag(ISASI)"},
    {Order::kAtomic, "atomic updates of one kind and type, of any cores",
     "the memory, in any order; everything else on these bytes takes an order of its own",
     "原子操作/关键特性说明"},
};

}  // namespace twin
