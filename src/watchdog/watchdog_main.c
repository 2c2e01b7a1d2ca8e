#include "watchdog/watchdog_cmd.h"

int main(int argc, char **argv)
{
    return st_program_main(&st_wd_program, argc, argv);
}
