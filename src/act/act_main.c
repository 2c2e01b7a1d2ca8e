#include "act/act_verb.h"

int main(int argc, char **argv)
{
    return st_program_main(&st_act_program, argc, argv);
}
