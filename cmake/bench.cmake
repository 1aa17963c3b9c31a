# What weir-bench and weir-candidates are told about their own build: flags, at configuration, and commit, at each build.

# Packagers without git may say the commit with -DWEIR_BENCH_COMMIT=...
set(WEIR_BENCH_COMMIT "" CACHE STRING "Commit that weir-bench reports; empty: git is asked at each build")

function(weir_bench_describe target)
    set(source ${PROJECT_BINARY_DIR}/generated/bench_commit.c)
    target_sources(${target} PRIVATE ${source})
    if(TARGET weir-bench-commit) # another program has asked for all of it
        add_dependencies(${target} weir-bench-commit)
        return()
    endif()
    string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
    set(flags ${CMAKE_BUILD_TYPE} ${CMAKE_C_FLAGS} ${CMAKE_C_FLAGS_${type}})
    if(WEIR_SANITIZE)
        list(APPEND flags -fsanitize=${WEIR_SANITIZE})
    endif()
    if(WEIR_MALLOC_LIBC)
        list(APPEND flags "libc's malloc")
    endif()
    string(JOIN " " flags ${flags})
    # One file, so that other flags recompile one file.
    set_property(SOURCE bench/machine.c APPEND PROPERTY
        COMPILE_DEFINITIONS "WEIR_BENCH_FLAGS=\"${flags}\"")

    # Runs at each build, takes milliseconds, and writes only when the commit has changed: then one
    # file is compiled and the program is linked.
    add_custom_target(weir-bench-commit
        COMMAND ${CMAKE_COMMAND} -DSOURCE=${source} -DTREE=${PROJECT_SOURCE_DIR}
            -DCOMMIT=${WEIR_BENCH_COMMIT} -P ${PROJECT_SOURCE_DIR}/cmake/bench_commit.cmake
        BYPRODUCTS ${source}
        COMMENT "Looking at the commit" VERBATIM)
    add_dependencies(${target} weir-bench-commit)
endfunction()
