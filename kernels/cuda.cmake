# The CUDA kernels and their Python module `_cuda`.
#
# EDGECV_CUDA: AUTO builds them where there is an nvcc that works, ON demands it, OFF leaves them out;
# EMULATED compiles the same sources for the processor (emulated/device.h), which is what the tests run
# where there is no GPU.
# EDGECV_CUDA_ARCHITECTURES: a list such as 87;90, or `all`: those we support that this nvcc knows. If
# empty, the GPUs that are here or, where there is none, `all`.

set(EDGECV_CUDA AUTO CACHE STRING "Build the CUDA kernels: AUTO, ON, OFF or EMULATED")
set(EDGECV_CUDA_ARCHITECTURES "" CACHE STRING "Compute capabilities, such as 87;90, or all")
set(edgecv_supported_architectures 75 80 86 87 89 90 110 120)
set(edgecv_oldest_cuda 12.0)

set(edgecv_cuda_sources
  box_iou/box_iou.cu
  decode_ssd/decode_ssd.cu
  decode_yolo/decode_yolo.cu
  edge_nms/edge_nms.cu
  letterbox/letterbox.cu
  nms/nms.cu
  resize_argmax/resize_argmax.cu
  roi_align/roi_align.cu
  roi_pool/roi_pool.cu)
set(edgecv_cuda_bindings
  bindings/cuda/box_iou.cc
  bindings/cuda/decode.cc
  bindings/cuda/device.cc
  bindings/cuda/edge_nms.cc
  bindings/cuda/letterbox.cc
  bindings/cuda/module.cc
  bindings/cuda/nms.cc
  bindings/cuda/resize_argmax.cc
  bindings/cuda/roi.cc)

# Finds an nvcc that works, CMAKE_CUDA_COMPILER; sets `why_not` in the caller where there is none.
function(edgecv_find_nvcc)
  # As CMake does: $CUDACXX is the compiler itself. A toolkit in its usual place comes after the PATH.
  if(NOT "$ENV{CUDACXX}" STREQUAL "")
    set(EDGECV_NVCC "$ENV{CUDACXX}" CACHE FILEPATH "nvcc")
  endif()
  find_program(EDGECV_NVCC nvcc HINTS ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
  if(NOT EDGECV_NVCC)
    set(why_not "there is no nvcc" PARENT_SCOPE)
    return()
  endif()
  execute_process(COMMAND "${EDGECV_NVCC}" --version OUTPUT_VARIABLE version ERROR_QUIET)
  if(version MATCHES "release ([0-9.]+)" AND CMAKE_MATCH_1 VERSION_LESS edgecv_oldest_cuda)
    set(why_not "CUDA ${edgecv_oldest_cuda} or newer is needed, ${EDGECV_NVCC} is of ${CMAKE_MATCH_1}"
      PARENT_SCOPE)
    return()
  endif()
  set(ENV{CUDACXX} "${EDGECV_NVCC}")
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    set(why_not "${EDGECV_NVCC} cannot compile (CMake's log says why)" PARENT_SCOPE)
  endif()
endfunction()

# Sets `architectures` in the caller to what is to be built for, in ascending order.
function(edgecv_find_architectures)
  execute_process(COMMAND "${CMAKE_CUDA_COMPILER}" --list-gpu-arch OUTPUT_VARIABLE known)
  string(REGEX MATCHALL "[0-9]+" known "${known}")
  set(wanted ${EDGECV_CUDA_ARCHITECTURES})
  if(wanted AND NOT wanted STREQUAL "all")
    foreach(architecture IN LISTS wanted)
      string(REGEX REPLACE "[af]$" "" number "${architecture}")
      if(NOT number IN_LIST known)
        string(REPLACE ";" ", " known "${known}")
        message(FATAL_ERROR "edgecv: EDGECV_CUDA_ARCHITECTURES must list what this nvcc knows "
          "(${known}) or be `all`, got ${architecture}. Take it out, or install a newer CUDA.")
      endif()
    endforeach()
  else()
    set(wanted)
    if(NOT EDGECV_CUDA_ARCHITECTURES)
      # What `-arch=native` asks; it knows Jetson boards too.
      execute_process(COMMAND "${CUDAToolkit_BIN_DIR}/__nvcc_device_query" OUTPUT_VARIABLE wanted
        ERROR_QUIET)
      string(REGEX MATCHALL "[0-9]+" wanted "${wanted}")
      edgecv_intersect(wanted "${wanted}" "${known}")
    endif()
    if(NOT wanted)
      edgecv_intersect(wanted "${edgecv_supported_architectures}" "${known}")
    endif()
  endif()
  list(REMOVE_DUPLICATES wanted)
  list(SORT wanted COMPARE NATURAL)
  set(architectures ${wanted} PARENT_SCOPE)
endfunction()

function(edgecv_intersect name one other)
  foreach(item IN LISTS one)
    if(NOT item IN_LIST other)
      list(REMOVE_ITEM one ${item})
    endif()
  endforeach()
  set(${name} ${one} PARENT_SCOPE)
endfunction()

set(architectures)
if(EDGECV_CUDA STREQUAL "AUTO" OR EDGECV_CUDA STREQUAL "ON")
  set(why_not)
  edgecv_find_nvcc()
  if(NOT why_not)
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
    edgecv_find_architectures()
  elseif(EDGECV_CUDA STREQUAL "ON")
    message(FATAL_ERROR "edgecv: EDGECV_CUDA is ON, but ${why_not}. Install the CUDA toolkit, set "
      "CUDA_HOME to its folder, or configure with EDGECV_CUDA=OFF.")
  else()
    message(STATUS "edgecv: the CUDA kernels are left out: ${why_not}")
  endif()
elseif(NOT EDGECV_CUDA MATCHES "^(OFF|EMULATED)$")
  message(FATAL_ERROR "edgecv: EDGECV_CUDA must be AUTO, ON, OFF or EMULATED, got ${EDGECV_CUDA}.")
endif()

if(architectures)
  message(STATUS "edgecv: CUDA kernels for ${architectures}")
  # Machine code for each, and for GPUs yet to come the intermediate code of the newest.
  list(TRANSFORM architectures APPEND -real OUTPUT_VARIABLE CMAKE_CUDA_ARCHITECTURES)
  list(GET architectures -1 newest)
  list(APPEND CMAKE_CUDA_ARCHITECTURES ${newest}-virtual)
  set(CMAKE_CUDA_STANDARD 17)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  add_library(edgecv_cuda STATIC ${edgecv_cuda_sources})
  # As -ffp-contract=off for the processor: every device rounds alike. -Wextra would complain about
  # what nvcc itself writes.
  target_compile_options(edgecv_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:
    --fmad=false -Werror all-warnings -Xcompiler=-Wall,-Werror>)
  target_link_libraries(edgecv_cuda PUBLIC CUDA::cudart_static)
elseif(EDGECV_CUDA STREQUAL "EMULATED")
  find_path(EDGECV_CUDA_INCLUDE crt/host_defines.h REQUIRED
    HINTS ENV CUDA_HOME /usr/local/cuda PATH_SUFFIXES include)
  add_library(edgecv_cuda STATIC ${edgecv_cuda_sources} emulated/device.cc emulated/runtime.cc)
  set_source_files_properties(${edgecv_cuda_sources} PROPERTIES LANGUAGE CXX)
  # Fortified, longjmp takes a switch between stacks for an error; the pragmas are those of nvcc.
  target_compile_options(edgecv_cuda PRIVATE -x c++ -U_FORTIFY_SOURCE -ffp-contract=off
    -Wall -Wextra -Werror -Wno-unknown-pragmas)
  target_include_directories(edgecv_cuda SYSTEM PUBLIC
    "${EDGECV_CUDA_INCLUDE}" "${EDGECV_CUDA_INCLUDE}/cccl") # since CUDA 13 in a folder of its own
  set(architectures 90)  # what it plays
endif()

if(TARGET edgecv_cuda)
  target_include_directories(edgecv_cuda PUBLIC "${CMAKE_CURRENT_SOURCE_DIR}")
  if(EDGECV_PYTHON)
    nanobind_add_module(_cuda NB_STATIC ${edgecv_cuda_bindings})
    string(REPLACE ";" " " listed "${architectures}")
    target_compile_definitions(_cuda PRIVATE "EDGECV_CUDA_ARCHITECTURES=\"${listed}\"")
    target_link_libraries(_cuda PRIVATE edgecv_cuda)
    install(TARGETS _cuda LIBRARY DESTINATION edgecv/kernels)
  endif()
endif()
