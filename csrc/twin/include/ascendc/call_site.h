// Not Ascend C: macros that pass a call site through helper functions, so that reports and
// mutations (twin/mutation.h) name the caller of a helper that synchronises or rounds. Kernels
// define the macros away on a device.
#pragma once

#include "twin/detail.h"

#define CALL_SITE_PARAMETER ::twin::Site site = ::twin::Site::Here()
#define CALL_SITE site
#define AND_CALL_SITE_PARAMETER , CALL_SITE_PARAMETER
#define AND_CALL_SITE , CALL_SITE
#define ROUNDED(name, up, none, down) ::twin::Rounded(name, up, none, down, CALL_SITE)
