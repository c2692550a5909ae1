// The part of the Python module that plans prefetches.
#pragma once

#include <pybind11/pybind11.h>

void BindPlanning(pybind11::module_& m);
