// The device by ACL, on a double of ACL: launches, argument blocks, streams, forks and joins,
// errors.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "../check.h"
#include "npu/pick_side_stream.h"
#include "plan/o_proj_plan.h"
#include "plan/prolog_plan.h"
#include "queued_host.h"

namespace {

using Calls = std::vector<std::string>;

const std::string kFolder = std::filesystem::temp_directory_path() / "ascend_prefetch_kernels";

/// A device on the double with kernels for one family.
struct Fixture {
    explicit Fixture(const char* soc = "Ascend910_9391") {
        acl_double::Reset();
        acl_double::SetSocName(soc);
        acl_double::NameStream(view.current, "main");
        std::filesystem::create_directories(kFolder);
        std::ofstream(kFolder + "/ascend910_93.o") << "device code";
    }
    ~Fixture() { std::filesystem::remove_all(kFolder); }

    npu::AclDevice& device() {
        if (made == nullptr) {
            made = std::make_unique<npu::AclDevice>(std::make_unique<QueuedHost>(view), kFolder);
        }
        return *made;
    }

    QueuedHost::View view;
    std::unique_ptr<npu::AclDevice> made;
};

template <typename Run>
std::string ErrorOf(const Run& run) {
    try {
        run();
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "no error";
}

template <typename... Arguments>
void Launch(npu::Device& device, const char* kernel, bool all_cores_wait,
            const Arguments&... arguments) {
    const npu::KernelArgument list[] = {{&arguments, sizeof(arguments)}...};
    device.Launch({kernel, 24, all_cores_wait, list, sizeof...(arguments)});
}

template <typename T>
std::vector<char> Bytes(const T& value) {
    std::vector<char> bytes(sizeof(T));
    std::memcpy(bytes.data(), &value, sizeof(T));
    return bytes;
}

}  // namespace

TEST(launch_carries_the_plan_by_value) {
    Fixture fixture;
    PrologAddresses addresses{};
    addresses.hidden_states = 0x1234;
    PrologPlan plan{};
    plan.tokens = 17;
    PrologWarm warm{};
    warm.plan.region_count = 3;
    const PrologPlan as_launched = plan;
    const PrologWarm warm_as_launched = warm;
    Launch(fixture.device(), "mla_prolog_bf16", true, addresses, plan, warm);
    plan.tokens = warm.plan.region_count = 99;  // the queue has not been there yet
    CHECK_EQ(acl_double::Launches().size(), 0u);
    fixture.view.Drain();
    CHECK_EQ(acl_double::Launches().size(), 1u);
    const acl_double::Launch& launch = acl_double::Launches()[0];
    CHECK_EQ(launch.kernel, "mla_prolog_bf16");
    CHECK_EQ(launch.block_count, 24u);
    CHECK(launch.stream == fixture.view.current);
    CHECK_EQ(launch.arguments.size(), 3u);
    CHECK(launch.arguments[0] == Bytes(addresses));
    CHECK(launch.arguments[1] == Bytes(as_launched));
    CHECK(launch.arguments[2] == Bytes(warm_as_launched));
}

TEST(arguments_of_any_size_keep_their_bytes) {
    Fixture fixture;
    const uint32_t stage = 3;
    const char odd[5] = {1, 2, 3, 4, 5};
    Launch(fixture.device(), "kernel", false, stage, odd, OProjPlan{}, stage);
    fixture.view.Drain();
    const acl_double::Launch& launch = acl_double::Launches().at(0);
    CHECK_EQ(launch.arguments.size(), 4u);
    CHECK(launch.arguments[0] == Bytes(stage));
    CHECK(launch.arguments[1] == Bytes(odd));
    CHECK(launch.arguments[2] == Bytes(OProjPlan{}));
    CHECK(launch.arguments[3] == Bytes(stage));
}

TEST(kernels_that_synchronise_all_cores_start_in_batch_mode) {
    Fixture fixture;
    Launch(fixture.device(), "fused", true, uint64_t{1});
    Launch(fixture.device(), "single", false, uint64_t{1});
    fixture.view.Drain();
    CHECK_EQ(acl_double::Launches().at(0).scheduling_mode, 1);
    CHECK_EQ(acl_double::Launches().at(1).scheduling_mode, 0);
}

TEST(a_kernel_file_is_loaded_once_for_each_device) {
    Fixture fixture;
    for (int i = 0; i < 2; ++i) Launch(fixture.device(), "fused", true, uint64_t{1});
    fixture.view.Drain();
    acl_double::SetDevice(1);
    Launch(fixture.device(), "fused", true, uint64_t{1});
    fixture.view.Drain();
    const std::string path = kFolder + "/ascend910_93.o";
    CHECK_EQ(acl_double::Calls(),
             (Calls{"load " + path + " on device 0", "launch fused on main", "launch fused on main",
                    "load " + path + " on device 1", "launch fused on main"}));
}

// The path that the loader knows the library by may be relative; the runtime wants an absolute one,
// and the process may have gone elsewhere by the first launch.
TEST(a_relative_folder_of_kernels_is_loaded_by_its_absolute_path) {
    Fixture fixture;
    const std::filesystem::path before = std::filesystem::current_path();
    std::filesystem::current_path(std::filesystem::temp_directory_path());
    npu::AclDevice device(std::make_unique<QueuedHost>(fixture.view),
                          std::filesystem::path(kFolder).filename());
    std::filesystem::current_path(before);
    Launch(device, "fused", true, uint64_t{1});
    fixture.view.Drain();
    CHECK_EQ(acl_double::Calls().at(0), "load " + kFolder + "/ascend910_93.o on device 0");
}

TEST(launches_go_to_the_stream_that_is_current_when_they_are_called) {
    Fixture fixture;
    Launch(fixture.device(), "first", true, uint64_t{1});
    const aclrtStream before = fixture.view.current;
    fixture.view.current = reinterpret_cast<aclrtStream>(uintptr_t{0x300});
    Launch(fixture.device(), "second", true, uint64_t{1});
    fixture.view.Drain();
    CHECK(acl_double::Launches().at(0).stream == before);
    CHECK(acl_double::Launches().at(1).stream == fixture.view.current);
    CHECK_EQ(fixture.view.queue.size(), 0u);
}

// --- prefetch by SDMA ---

namespace {

const at::Tensor* FakeTensors() { return reinterpret_cast<const at::Tensor*>(uintptr_t{0x1000}); }

void Prefetch(npu::Device& device, uint64_t address, uint64_t bytes) {
    const npu::MemoryRange range = {address, bytes};
    device.Prefetch(&range, FakeTensors(), 1);
}

/// Calls with the numbers of events as they first appear.
Calls Numbered(const Calls& calls) {
    std::vector<std::string> events;
    Calls numbered;
    for (std::string call : calls) {
        const size_t begin = call.find("event ");
        if (begin != std::string::npos) {
            const size_t end = call.find(" on", begin);
            const std::string event = call.substr(begin, end - begin);
            size_t number = 0;
            while (number < events.size() && events[number] != event) ++number;
            if (number == events.size()) events.push_back(event);
            call.replace(begin, end - begin, "e" + std::to_string(number));
        }
        numbered.push_back(call);
    }
    return numbered;
}

}  // namespace

TEST(a_prefetch_forks_and_a_join_joins) {
    Fixture fixture;
    Prefetch(fixture.device(), 4096, 100);
    CHECK_EQ(acl_double::Calls().size(), 0u);
    Prefetch(fixture.device(), 8192, 50);
    fixture.device().JoinPrefetches();
    fixture.view.Drain();
    CHECK_EQ(Numbered(acl_double::Calls()),
             (Calls{"record e0 on main", "wait for e0 on side0", "prefetch 4096+100 on side0",
                    "record e0 on main", "wait for e0 on side0", "prefetch 8192+50 on side0",
                    "record e1 on side0", "wait for e1 on main"}));
}

TEST(ranges_are_prefetched_in_their_order) {
    Fixture fixture;
    const npu::MemoryRange ranges[] = {{100, 1}, {50, 2}, {70, 3}};
    fixture.device().Prefetch(ranges, FakeTensors(), 3);
    fixture.view.Drain();
    CHECK_EQ(Numbered(acl_double::Calls()),
             (Calls{"record e0 on main", "wait for e0 on side0", "prefetch 100+1 on side0",
                    "prefetch 50+2 on side0", "prefetch 70+3 on side0"}));
}

TEST(a_join_with_nothing_pending_does_nothing) {
    Fixture fixture;
    fixture.device().JoinPrefetches();
    CHECK_EQ(fixture.view.queue.size(), 0u);
    Prefetch(fixture.device(), 4096, 100);
    fixture.device().JoinPrefetches();
    fixture.view.Drain();
    fixture.device().JoinPrefetches();
    CHECK_EQ(fixture.view.queue.size(), 0u);
    Prefetch(fixture.device(), 4096, 100);
    fixture.device().JoinPrefetches();
    CHECK_EQ(fixture.view.queue.size(), 2u);
}

TEST(every_stream_has_a_side_stream_of_its_own) {
    Fixture fixture;
    const aclrtStream main = fixture.view.current;
    const aclrtStream other = reinterpret_cast<aclrtStream>(uintptr_t{0x300});
    acl_double::NameStream(other, "other");
    Prefetch(fixture.device(), 1, 1);
    fixture.view.current = other;
    fixture.device().JoinPrefetches();  // nothing was issued from this one
    Prefetch(fixture.device(), 2, 2);
    fixture.device().JoinPrefetches();
    fixture.view.current = main;
    fixture.device().JoinPrefetches();
    fixture.view.Drain();
    CHECK_EQ(Numbered(acl_double::Calls()),
             (Calls{"record e0 on main", "wait for e0 on side0", "prefetch 1+1 on side0",
                    "record e1 on other", "wait for e1 on side1", "prefetch 2+2 on side1",
                    "record e2 on side1", "wait for e2 on other", "record e3 on side0",
                    "wait for e3 on main"}));
}

namespace {

void LaunchBeside(npu::Device& device, const char* kernel) {
    const uint64_t plan = 1;
    const npu::KernelArgument argument = {&plan, sizeof(plan)};
    device.LaunchBeside({kernel, 24, false, &argument, 1}, FakeTensors(), 3);
}

}  // namespace

// Kernels and SDMA share the side stream, and its events.
TEST(a_kernel_beside_forks_as_a_prefetch_does) {
    Fixture fixture;
    LaunchBeside(fixture.device(), "prefetch_cube");
    CHECK_EQ(acl_double::Calls().size(), 0u);
    Prefetch(fixture.device(), 8192, 50);
    Launch(fixture.device(), "collective", false, uint64_t{1});
    fixture.device().JoinPrefetches();
    fixture.view.Drain();
    Calls calls = Numbered(acl_double::Calls());
    calls.erase(calls.begin());  // the file of kernels
    CHECK_EQ(calls,
             (Calls{"record e0 on main", "wait for e0 on side0", "launch prefetch_cube on side0",
                    "record e0 on main", "wait for e0 on side0", "prefetch 8192+50 on side0",
                    "launch collective on main", "record e1 on side0", "wait for e1 on main"}));
    CHECK_EQ(fixture.view.kept.at(0).count, 3u);
    CHECK(fixture.view.kept.at(0).stream == reinterpret_cast<aclrtStream>(uintptr_t{0x200}));
}

TEST(a_failed_launch_beside_is_joined_all_the_same) {
    Fixture fixture;
    LaunchBeside(fixture.device(), "prefetch_cube");
    acl_double::FailNext("aclrtLaunchKernelWithConfig", 507015, "");
    CHECK_EQ(ErrorOf([&] { fixture.view.Drain(); }),
             "ascend_prefetch: aclrtLaunchKernelWithConfig failed with 507015");
    fixture.device().JoinPrefetches();
    fixture.view.Drain();
    CHECK_EQ(Numbered(acl_double::Calls()).back(), "wait for e1 on main");
}

// Of a fork that failed nothing is left to join: in a capture that would be error 107024.
TEST(a_failed_fork_is_not_joined) {
    Fixture fixture;
    LaunchBeside(fixture.device(), "prefetch_cube");
    acl_double::FailNext("aclrtStreamWaitEvent", 207003, "");
    CHECK_EQ(ErrorOf([&] { fixture.view.Drain(); }),
             "ascend_prefetch: aclrtStreamWaitEvent failed with 207003");
    fixture.device().JoinPrefetches();
    fixture.view.Drain();
    CHECK_EQ(Numbered(acl_double::Calls()).back(), "record e0 on main");
}

TEST(weights_are_kept_for_the_side_stream) {
    Fixture fixture;
    const npu::MemoryRange ranges[] = {{1, 1}, {5, 2}};
    fixture.device().Prefetch(ranges, FakeTensors(), 2);
    CHECK_EQ(fixture.view.kept.size(), 1u);
    CHECK_EQ(fixture.view.kept.at(0).count, 2u);
    CHECK(fixture.view.kept.at(0).tensors == FakeTensors());
    CHECK(fixture.view.kept.at(0).stream == reinterpret_cast<aclrtStream>(uintptr_t{0x200}));
}

// --- errors ---

TEST(every_return_code_becomes_an_error_that_names_the_call) {
    const char* calls[] = {"aclrtGetDevice",
                           "aclrtBinaryLoadFromFile",
                           "aclrtBinaryGetFunction",
                           "aclrtKernelArgsInit",
                           "aclrtKernelArgsAppend",
                           "aclrtKernelArgsFinalize",
                           "aclrtLaunchKernelWithConfig"};
    for (const char* call : calls) {
        Fixture fixture;
        acl_double::FailNext(call, 507000, "EZ9999: it broke");
        Launch(fixture.device(), "fused", true, uint64_t{1});
        CHECK_EQ(ErrorOf([&] { fixture.view.Drain(); }),
                 std::string("ascend_prefetch: ") + call + " failed with 507000: EZ9999: it broke");
        // The next one finds what the failed one did not get.
        Launch(fixture.device(), "fused", true, uint64_t{1});
        CHECK_EQ(ErrorOf([&] { fixture.view.Drain(); }), "no error");
    }
}

TEST(errors_of_streams_and_events) {
    const char* calls[] = {"aclrtCreateEventExWithFlag", "aclrtRecordEvent", "aclrtStreamWaitEvent",
                           "aclrtCmoAsync"};
    for (const char* call : calls) {
        Fixture fixture;
        acl_double::FailNext(call, 107025, "");
        Prefetch(fixture.device(), 1, 1);
        CHECK_EQ(ErrorOf([&] { fixture.view.Drain(); }),
                 std::string("ascend_prefetch: ") + call + " failed with 107025");
    }
}

/// The stream that is picked from a pool which hands out 0 to 3 in turn, from `first` on.
int Picked(int first, int main, const std::vector<int>& sides) {
    return npu::PickSideStream(
        [&] { return first++ % 4; }, [&](int stream) { return stream == main; },
        [&](int stream) { return std::count(sides.begin(), sides.end(), stream) != 0; });
}

TEST(side_streams_are_shared_by_nobody_while_the_pool_lasts) {
    CHECK_EQ(Picked(0, 9, {}), 0);
    CHECK_EQ(Picked(3, 3, {}), 0);
    CHECK_EQ(Picked(0, 2, {0, 1}), 3);
    CHECK_EQ(Picked(2, 3, {2, 0}), 1);
    // All are taken: any but the main one.
    CHECK(Picked(0, 3, {0, 1, 2}) != 3);
    CHECK(Picked(0, 2, {0, 1, 3}) != 2);
    CHECK(Picked(0, 9, {0, 1, 2, 3}) < 4);
}

TEST(an_unknown_chip_is_refused_in_one_line) {
    Fixture fixture("Ascend310P3");
    const std::string error = ErrorOf([&] { fixture.device().SocName(); });
    CHECK_EQ(error.substr(0, 72),
             "ascend_prefetch: unknown SoC 'Ascend310P3'; there are plans for Ascend91");
    CHECK_EQ(error.substr(error.rfind(':')),
             ": add the chip to csrc/arch/chip.cpp and build again");
    CHECK_EQ(error.find('\n'), std::string::npos);
    acl_double::SetSocName(nullptr);
    CHECK_EQ(ErrorOf([&] { fixture.device().SocName(); }),
             "ascend_prefetch: aclrtGetSocName knows no chip");
    // Looked up again until there is one.
    acl_double::SetSocName("Ascend910_9391");
    CHECK_EQ(std::string(fixture.device().SocName()), "Ascend910_9391");
}

TEST(kernels_for_another_chip_are_not_enough) {
    Fixture fixture("Ascend910B3");
    CHECK_EQ(ErrorOf([&] { fixture.device().SocName(); }),
             "ascend_prefetch: no kernels for Ascend910B3: " + kFolder +
                 "/ascend910b.o is missing; build with ASCEND_HOME_PATH set and this chip chosen");
}

TEST(families_of_chips) {
    CHECK_EQ(std::string(npu::ChipFamily("Ascend910B4-1")), "ascend910b");
    CHECK_EQ(std::string(npu::ChipFamily("Ascend910B2C")), "ascend910b");
    CHECK_EQ(std::string(npu::ChipFamily("Ascend910_9362")), "ascend910_93");
    CHECK(npu::ChipFamily("Ascend910ProB") == nullptr);
    CHECK(npu::ChipFamily("Ascend310P3") == nullptr);
}
