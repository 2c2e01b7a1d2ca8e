// An SQLite file as rpm's, through SQLite itself.
#include "catalog/rpm_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return rpm_fuzz_db(st_rpm_sqlite_walk, data, size);
}
