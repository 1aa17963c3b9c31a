# cmake -DSOURCE=FILE -DTREE=FOLDER [-DCOMMIT=NAME] -P: writes FILE, which says at what commit FOLDER is.
#
# NULL where nobody knows: no git, a tarball, or a copy inside somebody else's repository. "-dirty"
# behind it says that files differ from that commit.
if(NOT COMMIT)
    execute_process(COMMAND git rev-parse --show-toplevel WORKING_DIRECTORY ${TREE}
        OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    get_filename_component(tree "${TREE}" REALPATH)
    if(top STREQUAL tree)
        execute_process(COMMAND git describe --always --abbrev=12 --exclude=* --dirty WORKING_DIRECTORY ${TREE}
            OUTPUT_VARIABLE COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    endif()
endif()

set(value NULL)
if(COMMIT)
    set(value "\"${COMMIT}\"")
endif()
set(text "/* Written by cmake/bench_commit.cmake. */\n#include \"bench/machine.h\"\n\n#include <stddef.h>\n
const char *const bench_machine_commit = ${value};\n")
if(EXISTS ${SOURCE})
    file(READ ${SOURCE} before)
endif()
if(NOT text STREQUAL before)
    file(WRITE ${SOURCE} "${text}")
endif()
