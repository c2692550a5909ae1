// For kernels that know these macros and do without them on a device: helpers that synchronise or
// round stand for whoever calls them, in reports and in mutations (twin/mutation.h).
#pragma once

#include "twin/detail.h"

#define CALL_SITE_PARAMETER ::twin::Site site = ::twin::Site::Here()
#define CALL_SITE site
#define AND_CALL_SITE_PARAMETER , CALL_SITE_PARAMETER
#define AND_CALL_SITE , CALL_SITE
#define ROUNDED(name, up, none, down) ::twin::Rounded(name, up, none, down, CALL_SITE)
