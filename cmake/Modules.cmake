# SPDX-License-Identifier: Apache-2.0

# sluice_module(NAME [PURE] [LINKS target...])
# The static library sluice_NAME from all of src/NAME but tests and mains, and the test
# program NAME_test from its *_test.cpp. PURE modules build without exceptions and RTTI.
function(sluice_module name)
  cmake_parse_arguments(arg "PURE" "" "LINKS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cpp)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "(_test|_main)\\.cpp$")
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")

  if(sources)
    add_library(sluice_${name} STATIC ${sources})
    set(scope PUBLIC)
    target_compile_options(sluice_${name} PRIVATE ${SLUICE_WARNINGS})
    if(arg_PURE)
      target_compile_options(sluice_${name} PRIVATE -fno-exceptions -fno-rtti)
    endif()
  else()
    add_library(sluice_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(sluice_${name} ${scope} ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(sluice_${name} ${scope} ${arg_LINKS})

  if(tests AND BUILD_TESTING)
    add_executable(${name}_test ${tests})
    set_target_properties(${name}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
    # Not optimised: their templates cost a third of a whole build, and what they test is the library.
    target_compile_options(${name}_test PRIVATE ${SLUICE_WARNINGS} -O0)
    target_link_libraries(${name}_test PRIVATE sluice_${name} GTest::gtest GTest::gmock_main rapidcheck)
    add_test(NAME ${name} COMMAND ${name}_test)
    set_tests_properties(${name} PROPERTIES WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  endif()
endfunction()

# sluice_program(NAME MAIN library...): build/bin/NAME
function(sluice_program name main)
  if(NOT EXISTS ${PROJECT_SOURCE_DIR}/${main})
    return()
  endif()
  add_executable(${name} ${main})
  target_compile_options(${name} PRIVATE ${SLUICE_WARNINGS})
  target_compile_definitions(${name} PRIVATE SLUICE_VERSION="${PROJECT_VERSION}")
  target_link_libraries(${name} PRIVATE ${ARGN})
endfunction()
