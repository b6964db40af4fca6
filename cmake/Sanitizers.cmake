# SPDX-License-Identifier: Apache-2.0
if(SLUICE_SANITIZE AND SLUICE_TRAP)
  message(FATAL_ERROR "SLUICE_SANITIZE and SLUICE_TRAP exclude each other: choose one")
endif()
if(SLUICE_SANITIZE)
  # The vptr check needs the type information that the pure modules are built without.
  add_compile_options(-fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined -fno-sanitize=vptr)
endif()
if(SLUICE_TRAP)
  # What can be found at little cost: undefined behaviour ends in a trap instruction, indices of
  # spans, arrays, vectors and optionals without a value are checked.
  add_compile_options(-fsanitize=undefined -fno-sanitize=vptr -fsanitize-trap=undefined
                      -D_GLIBCXX_ASSERTIONS)
endif()
if(SLUICE_FUZZ)
  # Every module tells the fuzzing engine which of its branches were taken.
  add_compile_options(-fsanitize=fuzzer-no-link)
  if(SLUICE_TRAP)
    # Watching comparisons, by which the engine finds magic values, takes half of the time: the
    # runs with sanitizers do it.
    add_compile_options(-fno-sanitize-coverage=trace-cmp)
  endif()
endif()
