#include "cli/cli.h"

int main(int argc, char **argv)
{
    return st_program_main(&st_cli_program, argc, argv);
}
