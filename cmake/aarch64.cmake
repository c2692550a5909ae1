# Toolchain of the cross build for 64-bit Arm with Debian's compiler. Its tests run under qemu. Use it
# by `make test-aarch64`, or by
#
#   cmake -S . -B build-aarch64 --toolchain cmake/aarch64.cmake -DASCEND_PREFETCH_BUILD_TORCH=OFF
#   cmake --build build-aarch64 --target check_cpp

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)

find_program(AARCH64_CXX aarch64-linux-gnu-g++)
find_program(AARCH64_QEMU NAMES qemu-aarch64 qemu-aarch64-static)
if(NOT AARCH64_CXX OR NOT AARCH64_QEMU)
    message(FATAL_ERROR "the aarch64 build needs a compiler and qemu: apt-get install g++-aarch64-linux-gnu qemu-user")
endif()
set(CMAKE_CXX_COMPILER ${AARCH64_CXX})
set(CMAKE_CROSSCOMPILING_EMULATOR ${AARCH64_QEMU};-L;/usr/aarch64-linux-gnu)
