/* A user's program, outside the tree: see run.sh. */
#include <stdio.h>
#include <weir/weir.h>

int main(void)
{
    return puts(weir_version()) < 0;
}
