// Ascend C for the host: shadows the toolkit's kernel_operator.h, so that kernel sources compile
// unchanged.
//
// Written from the API documentation (mirror-cann/asc-devkit, docs/zh/api) for the architecture of
// the Atlas A2/A3 series (dav-c220). What is declared here behaves as documented or ends the launch
// with a twin::Error; what is not declared does not compile. Each header names the documentation
// pages that it follows.
#pragma once

#include "ascendc/atomic.h"     // SetAtomicAdd, SetAtomicMax, SetAtomicMin, SetAtomicNone
#include "ascendc/call_site.h"  // not Ascend C: macros that pass on a caller's source line
#include "ascendc/copy.h"       // DataCopy, DataCopyPad
#include "ascendc/cube.h"       // LoadData, Mmad, Fixpipe
#include "ascendc/pipe.h"       // TPipe, TBuf
#include "ascendc/queue.h"      // TQue, TQueBind
#include "ascendc/sync.h"       // SetFlag, WaitFlag, PipeBarrier, cross-core flags, SyncAll
#include "ascendc/tensor.h"     // LocalTensor, GlobalTensor
#include "ascendc/types.h"      // scalar types, enumerations, macros
#include "ascendc/vector.h"     // vector arithmetic, casts, reductions, gathers
