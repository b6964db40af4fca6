# SPDX-License-Identifier: Apache-2.0
find_program(BPF_CLANG NAMES clang clang-19 clang-16 clang-14 REQUIRED)
find_program(BPFTOOL NAMES bpftool PATHS /usr/sbin REQUIRED)
execute_process(COMMAND ${CMAKE_C_COMPILER} -print-multiarch
                OUTPUT_VARIABLE SLUICE_MULTIARCH OUTPUT_STRIP_TRAILING_WHITESPACE)

# sluice_bpf_object(NAME [FOLDER]): compiles FOLDER/NAME.bpf.c (src/bpf) and offers its libbpf
# skeleton as "NAME.skel.h" to whoever links sluice_bpf_NAME.
function(sluice_bpf_object name)
  set(folder src/bpf)
  if(ARGC GREATER 1)
    set(folder ${ARGV1})
  endif()
  set(source ${PROJECT_SOURCE_DIR}/${folder}/${name}.bpf.c)
  add_library(sluice_bpf_${name} INTERFACE)
  if(NOT EXISTS ${source})
    return()
  endif()
  set(dir ${PROJECT_BINARY_DIR}/bpf)
  set(object ${dir}/${name}.bpf.o)
  set(skeleton ${dir}/${name}.skel.h)
  file(MAKE_DIRECTORY ${dir})
  file(GLOB headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/bpf/*.h)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${BPF_CLANG} -target bpf -mcpu=v3 -O2 -g -Wall -Werror -I${PROJECT_SOURCE_DIR}/src
            -I/usr/include/${SLUICE_MULTIARCH} -c ${source} -o ${object}
    DEPENDS ${source} ${headers}
    VERBATIM)
  add_custom_command(
    OUTPUT ${skeleton}
    COMMAND ${BPFTOOL} gen skeleton ${object} name ${name}_bpf > ${skeleton}
    DEPENDS ${object})
  add_custom_target(bpf_${name} DEPENDS ${skeleton})
  add_dependencies(sluice_bpf_${name} bpf_${name})
  target_include_directories(sluice_bpf_${name} SYSTEM INTERFACE ${dir})
endfunction()
