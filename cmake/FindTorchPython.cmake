# Finds the torch that the Python interpreter imports.
#
# torch's own CMake package demands the CUDA toolkit if the wheel was built with CUDA. Nothing here
# needs CUDA, so the paths come from torch.utils.cpp_extension, and only the CPU libraries are linked.
#
# Requires Python_EXECUTABLE. Defines TorchPython_VERSION, TorchPython_CXX11_ABI (0 or 1) and the target
# TorchPython::torch.

if(NOT TorchPython_INTERPRETER STREQUAL Python_EXECUTABLE)
    # Without the variable, `import torch` would import torch_npu, which may fail or print text here.
    execute_process(
        COMMAND ${CMAKE_COMMAND} -E env TORCH_DEVICE_BACKEND_AUTOLOAD=0 ${Python_EXECUTABLE} -c "
import torch
from torch.utils import cpp_extension
print(torch.__version__)
print(int(torch.compiled_with_cxx11_abi()))
print(';'.join(cpp_extension.include_paths()))
print(';'.join(cpp_extension.library_paths()))"
        OUTPUT_VARIABLE OUTPUT
        RESULT_VARIABLE STATUS
        OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(STATUS EQUAL 0 AND OUTPUT MATCHES "^([^\n]+)\n([^\n]+)\n([^\n]+)\n([^\n]+)$")
        # Importing torch takes seconds, so it is done only once for each build tree.
        set(TorchPython_INTERPRETER ${Python_EXECUTABLE} CACHE INTERNAL "")
        set(TorchPython_VERSION ${CMAKE_MATCH_1} CACHE INTERNAL "")
        set(TorchPython_CXX11_ABI ${CMAKE_MATCH_2} CACHE INTERNAL "")
        set(TorchPython_INCLUDE_DIRS ${CMAKE_MATCH_3} CACHE INTERNAL "")
        set(TorchPython_LIBRARY_DIRS ${CMAKE_MATCH_4} CACHE INTERNAL "")
    endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
    TorchPython
    REQUIRED_VARS TorchPython_LIBRARY_DIRS TorchPython_INCLUDE_DIRS
    VERSION_VAR TorchPython_VERSION
    REASON_FAILURE_MESSAGE "${Python_EXECUTABLE} cannot import torch")

if(TorchPython_FOUND AND NOT TARGET TorchPython::torch)
    add_library(TorchPython::torch INTERFACE IMPORTED)
    target_include_directories(TorchPython::torch SYSTEM INTERFACE ${TorchPython_INCLUDE_DIRS})
    target_link_directories(TorchPython::torch INTERFACE ${TorchPython_LIBRARY_DIRS})
    target_link_libraries(TorchPython::torch INTERFACE torch_cpu c10)
endif()
