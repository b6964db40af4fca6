# SPDX-License-Identifier: Apache-2.0
if(SLUICE_SANITIZE)
  # The vptr check needs the type information that the pure modules are built without.
  add_compile_options(-fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined -fno-sanitize=vptr)
endif()
if(SLUICE_FUZZ)
  # Every module tells the fuzzing engine which of its branches were taken.
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
