# Compiler and linker flags: the weir_flags target, the build types, and the instruction-set files.

# ---- build types --------------------------------------------------------------------------------

get_property(multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
if(NOT CMAKE_BUILD_TYPE AND NOT multi_config)
    set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_C_FLAGS_RELEASE "-O3 -g1 -DNDEBUG")
set(CMAKE_C_FLAGS_PROFILE "-O3 -g -fno-omit-frame-pointer -fno-optimize-sibling-calls -DNDEBUG")
set(CMAKE_C_FLAGS_DEBUG "-Og -g3")
set(CMAKE_C_FLAGS_CHECKED "-O2 -g1") # assertions on, and fast
# A report has files and lines from -g1. With -O1 a build takes a quarter less of the processor than with -O2, and what it runs
# some hundredths more: seldom as much as that.
set(CMAKE_C_FLAGS_SANITIZE "-O1 -g1 -fno-omit-frame-pointer")
# Atomic: threads that count at once lose counts, and then a branch that was taken once seems not to be.
set(CMAKE_C_FLAGS_COVERAGE "-O0 -g --coverage -fprofile-update=atomic")

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# ---- flags for every target ----------------------------------------------------------------------

add_library(weir_flags INTERFACE)
target_compile_options(weir_flags INTERFACE
    -Wall -Wextra -Wconversion -Wshadow
    $<$<BOOL:${WEIR_WERROR}>:-Werror>
    -ffunction-sections -fdata-sections -fno-plt)
target_compile_definitions(weir_flags INTERFACE _GNU_SOURCE=) # Empty, as in "#define _GNU_SOURCE".
# No --gc-sections here: Criterion finds its tests in a section that nothing refers to, so the linker
# would throw all of them away and the test program would pass with none.
target_link_options(weir_flags INTERFACE
    LINKER:--as-needed LINKER:-z,relro LINKER:-z,now)

if(CMAKE_BUILD_TYPE STREQUAL Coverage)
    target_link_options(weir_flags INTERFACE --coverage)
endif()
if(WEIR_FUZZ_EDGES)
    target_compile_options(weir_flags INTERFACE -fsanitize-coverage=inline-8bit-counters,pc-table)
elseif(WEIR_FUZZ AND NOT WEIR_FUZZ_AFL)
    target_compile_options(weir_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(WEIR_SANITIZE)
    target_compile_options(weir_flags INTERFACE
        -fsanitize=${WEIR_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(weir_flags INTERFACE -fsanitize=${WEIR_SANITIZE})
endif()

# ---- one translation unit per instruction set ----------------------------------------------------

string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" processor)
if(processor MATCHES "^(x86_64|amd64)$" AND CMAKE_SIZEOF_VOID_P EQUAL 8)
    set(WEIR_X86 ON)
    target_compile_definitions(weir_flags INTERFACE WEIR_HASH_X86=1)
else()
    set(WEIR_X86 OFF)
endif()

# Gives *_avx2.c and *_avx512.c of a list their flags, or drops them where they cannot be compiled.
function(weir_select_sources list_name)
    set(sources ${${list_name}})
    if(WEIR_X86)
        foreach(source ${sources})
            if(source MATCHES "_avx2\\.c$")
                set(flags -mavx2 -mbmi -mbmi2 -mfma)
            elseif(source MATCHES "_avx512\\.c$")
                set(flags -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx2 -mbmi -mbmi2 -mfma)
            else()
                continue()
            endif()
            set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${flags}")
        endforeach()
    else()
        list(FILTER sources EXCLUDE REGEX "_avx(2|512)\\.c$")
    endif()
    set(${list_name} ${sources} PARENT_SCOPE)
endfunction()
