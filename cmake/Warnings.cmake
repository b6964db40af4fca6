# SPDX-License-Identifier: Apache-2.0
set(SLUICE_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor
    -Woverloaded-virtual -Wold-style-cast -Wimplicit-fallthrough -Werror)
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  # Part of Clang's -Wconversion, but not of GCC's for C++, which is what the product is built with.
  list(APPEND SLUICE_WARNINGS -Wno-sign-conversion)
endif()
