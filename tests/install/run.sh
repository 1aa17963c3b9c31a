#!/usr/bin/env bash
# tests/install/run.sh BUILD_DIR: installs weir to a temporary prefix and builds and runs a program
# outside the tree against it, with pkg-config and with CMake, each with the shared and the static
# library. Proves that the headers, weir.pc and the CMake package are complete.
set -euo pipefail

build=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
prefix=$temp/prefix

step() { echo "install: $*"; }

step "cmake --install"
cmake --install "$build" --prefix "$prefix" >/dev/null

libdir=$(dirname "$(find "$prefix" -name libweir.a)")
export PKG_CONFIG_PATH=$libdir/pkgconfig
export LD_LIBRARY_PATH=$libdir
version=$(pkg-config --modversion weir)
flags=(-std=c17 -Wall -Wextra -Wpedantic -Werror)

expect_version() {
    local said
    said=$("$1")
    [ "$said" = "$version" ] || {
        echo "install: $1 says weir is '$said', but weir.pc says '$version'" >&2
        exit 1
    }
}

step "pkg-config, shared"
read -ra weir_flags < <(pkg-config --cflags --libs weir)
cc "${flags[@]}" "$here/consumer.c" -o "$temp/pc_shared" "${weir_flags[@]}"
expect_version "$temp/pc_shared"

step "pkg-config, static libweir.a"
read -ra weir_flags < <(pkg-config --static --cflags --libs weir)
weir_flags=("${weir_flags[@]/#-lweir/$libdir/libweir.a}")
cc "${flags[@]}" "$here/consumer.c" -o "$temp/pc_static" "${weir_flags[@]}"
expect_version "$temp/pc_static"
! ldd "$temp/pc_static" | grep -q libweir || {
    echo "install: the static program still loads libweir.so" >&2
    exit 1
}

step "CMake package"
cmake -S "$here" -B "$temp/cmake" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" >"$temp/log" 2>&1 &&
    cmake --build "$temp/cmake" >>"$temp/log" 2>&1 || {
    cat "$temp/log" >&2
    exit 1
}
expect_version "$temp/cmake/consumer_shared"
expect_version "$temp/cmake/consumer_static"

# Only the command weir may be missing: a tree without tools/ still installs a library.
if [ -x "$prefix/bin/weir" ]; then
    step "the installed command starts"
    "$prefix/bin/weir" --version >/dev/null || {
        echo "install: weir --version fails" >&2
        exit 1
    }
fi
step "ok"
