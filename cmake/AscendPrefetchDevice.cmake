# Compiles the kernels for a device, if there is a CANN toolkit.
#
#   ASCEND_PREFETCH_DEVICE   ON, OFF or AUTO (default): if CANN_ROOT or ASCEND_HOME_PATH names a toolkit
#   ASCEND_PREFETCH_ARCH     dav-c220, the only architecture the kernels are written for
#   SOC_VERSION              a chip of that architecture, for the toolkit; one binary serves them all
#
# Targets: ascend_prefetch_kernels builds kernels/<family>.o in the build tree, which is device code as
# csrc/npu/kernel_launch.h describes it, and lab_kernels/<family>.o, which holds the kernels of the
# laboratory; without a toolkit it builds nothing. kernel_sizes lists the code bytes of every kernel and
# exists only with a toolkit.

set(ASCEND_PREFETCH_DEVICE AUTO CACHE STRING "Compile the kernels for a device: AUTO, ON or OFF")
set(ASCEND_PREFETCH_ARCH dav-c220 CACHE STRING "Device architecture")
set(SOC_VERSION "" CACHE STRING "Chip, e.g. Ascend910B1 or Ascend910_9391")
if(NOT SOC_VERSION)
    set(SOC_VERSION "$ENV{SOC_VERSION}")
endif()

# CANN 9.x calls dav-c220 dav-2201.
if(NOT ASCEND_PREFETCH_ARCH MATCHES "^dav-(c220|2201)$")
    message(FATAL_ERROR "ASCEND_PREFETCH_ARCH=${ASCEND_PREFETCH_ARCH}: the kernels are written for dav-c220 alone (dav-2201 in CANN 9.x: Atlas A2 and A3); leave it out")
endif()

# The chips of csrc/arch are all dav-c220.
file(STRINGS ${PROJECT_SOURCE_DIR}/csrc/arch/chip.cpp CHIP_LINES REGEX "\"Ascend")
string(REGEX MATCHALL "Ascend[0-9A-Za-z_-]+" CHIPS "${CHIP_LINES}")
list(GET CHIPS 0 FIRST_CHIP)
set(SOC ${FIRST_CHIP})
if(SOC_VERSION)
    set(SOC "")
    string(TOLOWER "${SOC_VERSION}" WANTED)
    foreach(CHIP ${CHIPS})
        string(TOLOWER "${CHIP}" LOWER)
        if(WANTED STREQUAL LOWER)
            set(SOC ${CHIP})
        endif()
    endforeach()
    if(NOT SOC)
        string(REPLACE ";" ", " CHIPS "${CHIPS}")
        message(FATAL_ERROR "SOC_VERSION=${SOC_VERSION}: unknown chip, known are ${CHIPS}; without it ${FIRST_CHIP} is taken")
    endif()
endif()

set(KERNELS_DIR ${PROJECT_BINARY_DIR}/kernels)
set(LAB_KERNELS_DIR ${PROJECT_BINARY_DIR}/lab_kernels)
set(CANN_FOUND FALSE)
if(ASCEND_PREFETCH_DEVICE)
    find_package(CANN MODULE QUIET)
endif()
if(NOT CANN_FOUND)
    if(NOT ASCEND_PREFETCH_DEVICE MATCHES "^(AUTO|OFF)$")
        message(FATAL_ERROR "ASCEND_PREFETCH_DEVICE=${ASCEND_PREFETCH_DEVICE} needs a CANN toolkit: source its set_env.sh or give -DCANN_ROOT=...")
    endif()
    set(WHY "no CANN toolkit: ASCEND_HOME_PATH and CANN_ROOT are not set")
    if(ASCEND_PREFETCH_DEVICE STREQUAL "OFF")
        set(WHY "ASCEND_PREFETCH_DEVICE=OFF")
    endif()
    message(STATUS "ascend_prefetch: host backend only (${WHY})")
    file(REMOVE_RECURSE ${KERNELS_DIR} ${LAB_KERNELS_DIR})
    add_custom_target(ascend_prefetch_kernels)
    return()
endif()
message(STATUS "ascend_prefetch: host and device backend (CANN ${CANN_VERSION}, ${ASCEND_PREFETCH_ARCH}, ${SOC})")

# The kernels are a project of their own, because ascendc.cmake sets host compiler flags, run paths and
# an install prefix for the whole project that includes it. It is built with make, as in the toolkit's
# own examples.
include(ExternalProject)
find_program(MAKE_PROGRAM make REQUIRED)
set(DEVICE_DIR ${PROJECT_BINARY_DIR}/device)
set(ASCEND_PREFETCH_FATBIN ${DEVICE_DIR}/fatbin/ascend_prefetch_kernels/ascend_prefetch_kernels.o)
set(ASCEND_PREFETCH_LAB_FATBIN
    ${DEVICE_DIR}/fatbin/ascend_prefetch_lab_kernels/ascend_prefetch_lab_kernels.o)
set(FATBINS ${ASCEND_PREFETCH_FATBIN})
if(ASCEND_PREFETCH_BUILD_LAB)
    list(APPEND FATBINS ${ASCEND_PREFETCH_LAB_FATBIN})
endif()
ExternalProject_Add(ascend_prefetch_fatbin
    SOURCE_DIR ${PROJECT_SOURCE_DIR}/cmake/device
    BINARY_DIR ${DEVICE_DIR}/build
    PREFIX ${DEVICE_DIR}/external
    CMAKE_GENERATOR "Unix Makefiles"
    CMAKE_ARGS
        -DCMAKE_BUILD_TYPE=${CMAKE_BUILD_TYPE}
        -DCMAKE_MAKE_PROGRAM=${MAKE_PROGRAM}
        -DCMAKE_INSTALL_PREFIX=${DEVICE_DIR}
        -DASCEND_CANN_PACKAGE_PATH=${CANN_ROOT}
        -DCANN_KERNEL_CMAKE=${CANN_KERNEL_CMAKE}
        -DSOC_VERSION=${SOC}
        -DCSRC=${PROJECT_SOURCE_DIR}/csrc
        -DLAB=${ASCEND_PREFETCH_BUILD_LAB}
    BUILD_ALWAYS TRUE
    INSTALL_COMMAND ""
    BUILD_BYPRODUCTS ${FATBINS}
    USES_TERMINAL_BUILD TRUE)

# Chips of one architecture run the same code. The launcher looks for the file of its chip's family, so
# the binary is copied once for each family.
string(REGEX REPLACE "(B|_93)[0-9C-]+" "\\1" FAMILIES "${CHIPS}")
string(TOLOWER "${FAMILIES}" FAMILIES)
list(REMOVE_DUPLICATES FAMILIES)
add_custom_target(ascend_prefetch_kernels ALL DEPENDS ascend_prefetch_fatbin)
foreach(FAMILY ${FAMILIES})
    add_custom_command(TARGET ascend_prefetch_kernels POST_BUILD
        COMMAND ${CMAKE_COMMAND} -E make_directory ${KERNELS_DIR}
        COMMAND ${CMAKE_COMMAND} -E copy_if_different ${ASCEND_PREFETCH_FATBIN} ${KERNELS_DIR}/${FAMILY}.o)
    if(ASCEND_PREFETCH_BUILD_LAB)
        add_custom_command(TARGET ascend_prefetch_kernels POST_BUILD
            COMMAND ${CMAKE_COMMAND} -E make_directory ${LAB_KERNELS_DIR}
            COMMAND ${CMAKE_COMMAND} -E copy_if_different
                ${ASCEND_PREFETCH_LAB_FATBIN} ${LAB_KERNELS_DIR}/${FAMILY}.o)
    endif()
endforeach()
