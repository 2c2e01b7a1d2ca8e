// Berkeley DB pages, chains and buckets.
#include "catalog/rpm_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return rpm_fuzz_db(st_rpm_bdb_walk, data, size);
}
