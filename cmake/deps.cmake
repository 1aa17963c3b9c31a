# The libraries weir is built on. scripts/deps installs them.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED COMPONENTS Crypto)
find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBURING REQUIRED IMPORTED_TARGET liburing>=2.9)
pkg_check_modules(XXHASH REQUIRED libxxhash) # Only its header is used: nothing links it.
pkg_check_modules(INIH REQUIRED IMPORTED_TARGET inih)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(NCURSES REQUIRED IMPORTED_TARGET ncursesw) # `weir top`

# Debian's mimalloc has no pkg-config file.
add_library(weir_malloc INTERFACE)
if(WEIR_MALLOC_LIBC)
    target_compile_definitions(weir_malloc INTERFACE WEIR_MALLOC_LIBC=1)
else()
    find_path(MIMALLOC_INCLUDE_DIR mimalloc.h REQUIRED)
    find_library(MIMALLOC_LIBRARY mimalloc REQUIRED)
    target_include_directories(weir_malloc SYSTEM INTERFACE ${MIMALLOC_INCLUDE_DIR})
    target_link_libraries(weir_malloc INTERFACE ${MIMALLOC_LIBRARY})
endif()

# What libweir links. --as-needed leaves out of the shared library what it does not call.
add_library(weir_deps INTERFACE)
target_link_libraries(weir_deps INTERFACE
    PkgConfig::LIBURING weir_malloc OpenSSL::Crypto Threads::Threads)
