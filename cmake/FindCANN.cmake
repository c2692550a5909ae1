# Finds the CANN toolkit, which compiles Ascend C kernels for a device.
#
# Looks in CANN_ROOT, by default the environment's ASCEND_HOME_PATH, which a toolkit's set_env.sh sets.
# Defines
#
#   CANN_FOUND, CANN_VERSION   e.g. 8.1.RC1, 9.1.0
#   CANN_KERNEL_CMAKE          the toolkit's ascendc.cmake: ascendc_fatbin_library and others
#   CANN_CPU_DEBUG_DIR         CMake package of its CPU-debug library (tikicpulib); empty if it has none
#   CANN::ascendcl             ACL's headers and library
#
# A toolkit that is named but cannot be used is an error, whose one line says how to fix it.

# The value from the environment is not cached, so that every configure run reads it again.
set(CANN_ROOT "" CACHE PATH "CANN toolkit (default: ASCEND_HOME_PATH)")
if(NOT CANN_ROOT)
    set(CANN_ROOT "$ENV{ASCEND_HOME_PATH}")
endif()
set(CANN_VERSION_FIRST 8.1)
set(CANN_VERSION_END 10)

function(_cann_refuse PROBLEM)
    message(FATAL_ERROR "CANN_ROOT=${CANN_ROOT} ${PROBLEM}, or build the host backend alone with -DASCEND_PREFETCH_DEVICE=OFF")
endfunction()

# In 8.1.RC1 the version is version_dir in compiler/version.info, whose Version is another number
# (7.7.0.1.238). In 9.x it is Version in the same file, which is a link to
# share/info/asc-devkit/version.info (asc-devkit, scripts/package/asc-devkit/asc-devkit.xml).
function(_cann_read_version OUT)
    foreach(FILE compiler/version.info share/info/asc-devkit/version.info)
        if(NOT EXISTS "${CANN_ROOT}/${FILE}")
            continue()
        endif()
        foreach(KEY version_dir Version)
            file(STRINGS "${CANN_ROOT}/${FILE}" LINE REGEX "^${KEY}=" LIMIT_COUNT 1)
            if(LINE MATCHES "=[^0-9]*([0-9]+\\.[0-9]+[0-9A-Za-z.-]*)")
                set(${OUT} "${CMAKE_MATCH_1}" PARENT_SCOPE)
                return()
            endif()
        endforeach()
    endforeach()
    set(${OUT} "" PARENT_SCOPE)
endfunction()

# Sets OUT to the first of the places that exists in the toolkit, or to nothing. For instance, 8.1.RC1
# has tools/tikcpp, and all versions have compiler/tikcpp.
function(_cann_first OUT)
    set(${OUT} "" PARENT_SCOPE)
    foreach(PLACE ${ARGN})
        if(EXISTS "${CANN_ROOT}/${PLACE}")
            set(${OUT} "${CANN_ROOT}/${PLACE}" PARENT_SCOPE)
            return()
        endif()
    endforeach()
endfunction()

set(CANN_FOUND FALSE)
if(CANN_ROOT)
    _cann_read_version(CANN_VERSION)
    if(NOT CANN_VERSION)
        _cann_refuse("holds no CANN toolkit (no compiler/version.info): source its set_env.sh")
    endif()
    if(CANN_VERSION VERSION_LESS CANN_VERSION_FIRST OR NOT CANN_VERSION VERSION_LESS CANN_VERSION_END)
        _cann_refuse("is CANN ${CANN_VERSION}, supported are 8.1.RC1 to 9.x: install one of them")
    endif()

    set(PLACE tikcpp/ascendc_kernel_cmake/ascendc.cmake)
    _cann_first(CANN_KERNEL_CMAKE tools/${PLACE} compiler/${PLACE}
        ${CMAKE_HOST_SYSTEM_PROCESSOR}-linux/${PLACE})
    if(NOT CANN_KERNEL_CMAKE)
        _cann_refuse("has no ${PLACE}: install the toolkit package, not only the runtime")
    endif()
    # bisheng is the newer name of the same compiler; 8.1.RC1 has both names.
    _cann_first(CANN_COMPILER
        compiler/ccec_compiler/bin/bisheng compiler/ccec_compiler/bin/ccec
        tools/ccec_compiler/bin/bisheng tools/ccec_compiler/bin/ccec
        ${CMAKE_HOST_SYSTEM_PROCESSOR}-linux/ccec_compiler/bin/bisheng)
    if(NOT CANN_COMPILER)
        _cann_refuse("has no bisheng or ccec under ccec_compiler/bin: install the toolkit package of ${CMAKE_HOST_SYSTEM_PROCESSOR}")
    endif()
    _cann_first(CANN_CPU_DEBUG_DIR tools/tikicpulib/lib/cmake)
    set(CANN_FOUND TRUE)

    if(NOT TARGET CANN::ascendcl)
        add_library(CANN::ascendcl INTERFACE IMPORTED)
        target_include_directories(CANN::ascendcl SYSTEM INTERFACE ${CANN_ROOT}/include)
        target_link_directories(CANN::ascendcl INTERFACE ${CANN_ROOT}/lib64)
        target_link_libraries(CANN::ascendcl INTERFACE ascendcl)
    endif()
endif()
