// The Python module ascend_prefetch._C, the half of the project that serving needs. Loading it also
// registers torch.ops.ascend_prefetch.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <optional>
#include <string>

#include "arch/chip.h"
#include "arch/timing_constants.h"
#include "npu/device.h"
#include "ops/check_schemas.h"
#include "ops/load_device.h"
#include "python/planning.h"

namespace py = pybind11;

namespace {

py::dict BuildInfo() {
    py::dict info;
    info["compiler"] = __VERSION__;
    info["cplusplus"] = __cplusplus;
#ifdef NDEBUG
    info["assertions"] = false;
#else
    info["assertions"] = true;
#endif
    return info;
}

py::dict ChipInfo(const arch::Chip& chip) {
    py::dict info;
    info["name"] = chip.name;
    info["aic_count"] = chip.aic_count;
    info["aiv_count"] = chip.aiv_count;
    info["clock_mhz"] = chip.clock_mhz;
    info["l2_mib"] = chip.l2_mib;
    return info;
}

py::list Chips() {
    py::list chips;
    for (const arch::Chip& chip : arch::Chips()) chips.append(ChipInfo(chip));
    return chips;
}

const char* ClassName(arch::Provenance provenance) {
    constexpr const char* kNames[] = {"published", "derived", "fitted", "assumed"};
    return kNames[static_cast<int>(provenance)];
}

py::dict Constants() {
    const auto describe = [](const arch::Constant& constant, const char* unit) {
        py::dict info;
        info["value"] = constant.value;
        info["unit"] = unit;
        info["class"] = ClassName(constant.provenance);
        info["source"] = constant.source;
        return info;
    };
    py::dict constants;
    constants["hbm_read_vector"] = describe(arch::kDavC220.hbm_read_vector, "TB/s");
    constants["hbm_read_cube"] = describe(arch::kDavC220.hbm_read_cube, "TB/s");
    constants["cube_macs"] =
        describe(arch::kDavC220.cube_macs, "products of 16-bit elements per cycle");
    constants["usable_l2"] = describe(arch::kDavC220.usable_l2, "share");
    return constants;
}

py::dict TimingConstants() {
    py::dict table;
    for (const arch::TimingConstantInfo& info : arch::TimingConstantTable()) {
        py::dict entry;
        for (int i = 0; i < arch::kLevels; ++i) {
            entry[arch::LevelName(static_cast<arch::Level>(i))] = info.values[i];
        }
        entry["unit"] = info.unit;
        entry["class"] = ClassName(info.provenance);
        entry["source"] = info.source;
        table[info.name] = entry;
    }
    return table;
}

/// Sets the host's device; the module that has made the device keeps owning it.
void SetHostDevice(const py::capsule& device) {
    ops::SetHostDevice(device.get_pointer<npu::Device>());
}

/// The loaded device, for modules that launch kernels of their own; None if no device is loaded.
std::optional<py::capsule> LoadedDevice() {
    npu::Device* device = ops::LoadedDevice();
    if (device == nullptr) return std::nullopt;
    return py::capsule(device);
}

}  // namespace

PYBIND11_MODULE(_C, m) {
    ops::CheckSchemas();
    m.def("check_schema", &ops::CheckSchema, py::arg("schema"),
          "Check that the op of this schema fills its struct of arguments from exactly these "
          "arguments, as the import does with the registered ones. ValueError for the first "
          "difference, which it names.");
    m.def("build_info", &BuildInfo,
          "Return how this module was compiled: compiler, C++ standard and whether it has "
          "assertions.");
    m.def("chips", &Chips,
          "Return the known chips, each with name, aic_count, aiv_count, clock_mhz and l2_mib.");
    m.def("constants", &Constants,
          "Return the hardware constants, each with value, unit, class (published, derived or "
          "assumed) and source.");
    m.def("timing_constants", &TimingConstants,
          "Return the constants of the planner and the timing model, each with low, nominal, high, "
          "unit, class and source.");
    m.def("load_device", &ops::LoadDevice, py::arg("path"),
          "Load the device of this library, which from now on runs the tensors of its type. A "
          "library that cannot be used raises a RuntimeError of one line.");
    m.def("device_chip", &ops::DeviceChip,
          "Return the SoC name of the loaded device; it is empty without one. A chip that cannot "
          "be used raises a RuntimeError of one line. The first call starts the device's runtime.");
    m.def(
        "unload_device", &ops::UnloadDevice,
        "Forget the loaded device: the host's device runs CPU tensors again, and tensors of other "
        "types have no backend.");
    m.def("loaded_device", &LoadedDevice,
          "Return the loaded device (npu/device.h), or None without one.");
    m.def("set_host_device", &SetHostDevice, py::arg("device"),
          "Let this device (npu/device.h) run CPU tensors while no loaded device does.");
    m.def("host_chip", &ops::HostChipName,
          "Return the name of the SoC that CPU tensors are planned for.");
    BindPlanning(m);
}
