# cmake --install: headers, both libraries, the programs, weir.pc and the CMake package.
include(CMakePackageConfigHelpers)

# Apart from each other, because only the static library asks its user for liburing and the rest.
install(TARGETS weir EXPORT weirSharedTargets)
install(TARGETS weir_static EXPORT weirStaticTargets)
# The simulator, for tests of applications: -lweir-sim -lweir, static, with what libweir.a asks for.
install(TARGETS weir_sim ARCHIVE)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/weir
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
if(TARGET weir_tool)
    install(TARGETS weir_tool)
endif()
if(TARGET weir-bench)
    install(TARGETS weir-bench)
endif()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/weir)
install(EXPORT weirSharedTargets NAMESPACE weir:: DESTINATION ${package_dir})
install(EXPORT weirStaticTargets NAMESPACE weir:: DESTINATION ${package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/weirConfig.cmake.in
    ${PROJECT_BINARY_DIR}/weirConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/weirConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/weirConfig.cmake ${PROJECT_BINARY_DIR}/weirConfigVersion.cmake
    DESTINATION ${package_dir})

set(weir_pc_malloc -lmimalloc)
if(WEIR_MALLOC_LIBC)
    set(weir_pc_malloc)
endif()
configure_file(${PROJECT_SOURCE_DIR}/cmake/weir.pc.in ${PROJECT_BINARY_DIR}/weir.pc.configured @ONLY)
# The prefix is only certain at install time: cmake --install may be given another one.
install(CODE "
    file(READ \"${PROJECT_BINARY_DIR}/weir.pc.configured\" text)
    string(REPLACE \"%PREFIX%\" \"\${CMAKE_INSTALL_PREFIX}\" text \"\${text}\")
    file(WRITE \"${PROJECT_BINARY_DIR}/weir.pc\" \"\${text}\")
")
install(FILES ${PROJECT_BINARY_DIR}/weir.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
