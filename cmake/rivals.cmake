# The rivals of weir-bench that need a library: which there are, and what the build does without.

set(WEIR_BENCH_RIVALS AUTO CACHE STRING
    "Rivals of weir-bench that need a library: AUTO (those that are installed), ON (all) or OFF (none)")
set_property(CACHE WEIR_BENCH_RIVALS PROPERTY STRINGS AUTO ON OFF)

# Adds one rival's sources, library and definition to `target`, or says why not.
function(weir_bench_rival target name package is_found)
    string(TOUPPER ${name} upper)
    if(is_found)
        file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/${name}/*.c)
        target_sources(${target} PRIVATE ${sources})
        target_link_libraries(${target} PRIVATE ${ARGN})
        set_property(SOURCE ${PROJECT_SOURCE_DIR}/bench/impls.c APPEND PROPERTY
            COMPILE_DEFINITIONS WEIR_BENCH_HAS_${upper}=1)
    elseif(WEIR_BENCH_RIVALS STREQUAL ON)
        message(FATAL_ERROR "weir-bench: ${name} is not installed, but WEIR_BENCH_RIVALS is ON: "
            "scripts/deps --bench installs it (${package})")
    elseif(NOT WEIR_BENCH_RIVALS STREQUAL OFF)
        message(STATUS "weir-bench: built without ${name}, which is not installed (${package}); "
            "scripts/deps --bench installs it, then configure again")
    endif()
endfunction()

function(weir_bench_rivals target)
    if(WEIR_BENCH_RIVALS STREQUAL OFF)
        message(STATUS "weir-bench: built without libuv, zmq and nng (WEIR_BENCH_RIVALS is OFF)")
        set(LIBUV_FOUND OFF)
        set(ZMQ_FOUND OFF)
        set(NNG_FOUND OFF)
    else()
        pkg_check_modules(LIBUV QUIET IMPORTED_TARGET libuv)
        pkg_check_modules(ZMQ QUIET IMPORTED_TARGET libzmq>=4.2)
        # Debian's nng has no pkg-config file.
        find_path(NNG_INCLUDE_DIR nng/nng.h)
        find_library(NNG_LIBRARY nng)
        mark_as_advanced(NNG_INCLUDE_DIR NNG_LIBRARY)
        set(NNG_FOUND OFF)
        if(NNG_INCLUDE_DIR AND NNG_LIBRARY)
            set(NNG_FOUND ON)
            target_include_directories(${target} SYSTEM PRIVATE ${NNG_INCLUDE_DIR})
        endif()
    endif()
    weir_bench_rival(${target} libuv libuv1-dev "${LIBUV_FOUND}" PkgConfig::LIBUV)
    weir_bench_rival(${target} zmq libzmq3-dev "${ZMQ_FOUND}" PkgConfig::ZMQ)
    weir_bench_rival(${target} nng libnng-dev "${NNG_FOUND}" ${NNG_LIBRARY})
endfunction()
