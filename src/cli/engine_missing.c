// Stands in for the engine until it is linked; then this file goes.
#include "cli/scan_cmd.h"

static int missing(struct st_err *err)
{
    return st_err_set(err, ST_E_FAILED, "this build has no engine: it cannot read images");
}

int st_scan_image(const struct st_scan_options *o, struct st_err *err)
{
    return missing(err);
}

int st_image_inspect(const struct st_image_options *o, struct st_err *err)
{
    return missing(err);
}

int st_image_layers(const struct st_image_options *o, struct st_err *err)
{
    return missing(err);
}
