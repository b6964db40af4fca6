# SPDX-License-Identifier: Apache-2.0
# sluice_preload_library(): build/lib/libsluice-ipvs.so, which unmodified programs are run with
# (LD_PRELOAD, `sluice run`). It goes into processes of others: no C++ library beside theirs, and
# nothing is visible but the functions that it replaces. Sanitizers must come first into a process,
# so there is none for sanitized builds.
function(sluice_preload_library)
  if(SLUICE_SANITIZE OR SLUICE_FUZZ)
    return()
  endif()
  set(sources)
  foreach(module IN ITEMS shim wire model net)
    file(GLOB found CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${module}/*.cpp)
    list(APPEND sources ${found})
  endforeach()
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  add_library(sluice-ipvs SHARED ${sources})
  set_target_properties(sluice-ipvs PROPERTIES
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
  target_compile_options(sluice-ipvs PRIVATE ${SLUICE_WARNINGS} -ffunction-sections -fdata-sections
                         -U_FORTIFY_SOURCE)
  target_include_directories(sluice-ipvs PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_options(sluice-ipvs PRIVATE -static-libstdc++ -static-libgcc -Wl,--exclude-libs,ALL
                      -Wl,--gc-sections)
endfunction()
