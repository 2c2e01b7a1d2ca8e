#include "cli/verb.h"

int main(int argc, char **argv)
{
    return st_cli_main(argc, argv);
}
