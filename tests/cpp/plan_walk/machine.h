// One core at a time runs a kernel and nothing moves: what is kept of its instructions is whether
// they may be given.
//
// The kernels are those of csrc/kernels, compiled unchanged against the headers of the twin and
// linked with this machine in the place of the twin's runtime. It has no bytes, no pipes and no
// other cores, so that a core's part of a plan takes microseconds.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace walk {

/// A rule that a plan breaks. `code` is one of twin/codes.h, or of the plan's own: "workspace",
/// "share", "slot", "window".
class Fault : public std::runtime_error {
public:
    Fault(std::string code_in, const std::string& message)
        : std::runtime_error(code_in + ": " + message), code(std::move(code_in)) {}
    const std::string code;
};

[[noreturn]] void Fail(const char* code, const char* format, ...)
    __attribute__((format(printf, 2, 3)));

/// Who writes to GM, or reads it.
enum class Port : uint8_t { kFixpipe, kStore, kLoad };

/// A range of GM that belongs together: an access lies in one of them as a whole.
struct Region {
    std::string name;
    uint64_t begin;
    uint64_t end;
    bool writable;
};

/// Bytes of a region that all cores together touch through a port.
struct Expectation {
    std::string region;
    Port port;
    uint64_t bytes;
    uint32_t unit;  ///< what no two accesses share, bytes
};

/// A call of CrossCoreSetFlag or CrossCoreWaitFlag.
struct FlagCall {
    bool set;
    uint8_t flag;
    uint8_t mode;
};

struct CoreId {
    bool aic;
    uint32_t block;
    uint32_t blocks;  ///< that GetBlockNum says
};

class Machine {
public:
    /// A tensor of its own; its address is a multiple of 2^40. Returns 0 for no bytes.
    uint64_t Add(const std::string& name, uint64_t bytes, bool writable);
    /// Memory of which only parts are to be touched; AddPart names them.
    uint64_t AddSpace();
    /// [offset, offset + bytes) of a space of `size` bytes. Fails where it leaves it, or meets
    /// another part.
    void AddPart(uint64_t space, uint64_t size, const std::string& name, uint64_t offset,
                 uint64_t bytes);
    /// The slot mapping, and the slots it holds, of 4 or 8 bytes each.
    void SetSlots(uint64_t address, uint32_t slot_bytes, std::vector<int64_t> slots);
    /// Counts the accesses of every core to a region from now on.
    void Expect(const std::string& region, Port port, uint64_t bytes, uint32_t unit);
    /// Fails where the cores so far did not touch what is expected, or anything twice.
    void RequireExpected() const;

    /// Runs `kernel` as one core; returns its calls of flags. Throws Fault, with the kernel's line.
    std::vector<FlagCall> Run(const CoreId& core, const std::function<void()>& kernel);

    uint64_t instructions() const { return instructions_; }
    /// Bytes of UB that the core which ran last has allocated.
    uint32_t UbBytes() const;

    // What the instructions ask, and tell.
    struct State;
    State& state() const { return *state_; }
    void Touch(const char* instruction, uint64_t address, uint64_t bytes, uint64_t count,
               uint64_t stride, Port port);
    int64_t SlotAt(uint64_t index) const;
    bool IsSlots(uint64_t address) const;
    /// Of the token at an address in the slot mapping.
    uint64_t SlotIndex(uint64_t address) const;

    Machine();
    ~Machine();
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

private:
    struct Count {
        Expectation expected;
        uint64_t begin;
        uint64_t touched = 0;
        bool twice = false;
        uint64_t first_twice = 0;
        std::vector<bool> units;
    };

    std::vector<std::vector<Region>> tensors_;
    std::vector<Count> counts_;
    std::vector<int64_t> slots_;
    uint64_t slots_address_ = 0;
    uint32_t slot_bytes_ = 0;
    uint64_t instructions_ = 0;
    State* state_;
};

/// Fails where the calls of an AIC and one of its AIVs do not go together: a wait that nobody ends,
/// a set that nobody waits for, more than 15 sets ahead. Barriers among the AICs (mode 0) count as
/// met.
void RequireFlagsMeet(const std::vector<FlagCall>& aic, const std::vector<FlagCall>& aiv);

/// Fails where two AICs do not come to the same barriers.
void RequireSameBarriers(const std::vector<FlagCall>& one, const std::vector<FlagCall>& other);

}  // namespace walk
