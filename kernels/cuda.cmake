# The CUDA kernels and their Python module `_cuda`.
#
# EDGECV_CUDA: AUTO builds them where nvcc is found, ON demands it, OFF leaves them out; EMULATED
# compiles the same sources for the processor (emulated/device.h), which is what the tests run where
# there is no GPU.
# EDGECV_CUDA_ARCHITECTURES: a list such as 87;90. If empty, the GPUs that are here or, where there is
# none, all of those we support that this nvcc knows.

set(EDGECV_CUDA AUTO CACHE STRING "Build the CUDA kernels: AUTO, ON, OFF or EMULATED")
set(EDGECV_CUDA_ARCHITECTURES "" CACHE STRING "Compute capabilities, such as 87;90")
set(edgecv_supported_architectures 75 80 86 87 89 90 110 120)

set(edgecv_cuda_sources
  box_iou/box_iou.cu
  decode_ssd/decode_ssd.cu
  decode_yolo/decode_yolo.cu
  edge_nms/edge_nms.cu
  nms/nms.cu)
set(edgecv_cuda_bindings
  bindings/cuda/box_iou.cc
  bindings/cuda/decode.cc
  bindings/cuda/device.cc
  bindings/cuda/edge_nms.cc
  bindings/cuda/module.cc
  bindings/cuda/nms.cc)

# Sets `architectures` in the caller to what is to be built for.
function(edgecv_find_architectures nvcc)
  get_filename_component(nvcc "${nvcc}" REALPATH)
  get_filename_component(folder "${nvcc}" DIRECTORY)
  # What `-arch=native` asks; it knows Jetson boards too.
  execute_process(COMMAND "${folder}/__nvcc_device_query" OUTPUT_VARIABLE here ERROR_QUIET)
  string(REGEX MATCHALL "[0-9]+" here "${here}")
  if(here)
    list(REMOVE_DUPLICATES here)
    set(architectures ${here} PARENT_SCOPE)
    return()
  endif()
  execute_process(COMMAND "${nvcc}" --list-gpu-arch OUTPUT_VARIABLE known)
  string(REGEX MATCHALL "[0-9]+" known "${known}")
  set(both)
  foreach(architecture IN LISTS edgecv_supported_architectures)
    if(architecture IN_LIST known)
      list(APPEND both ${architecture})
    endif()
  endforeach()
  set(architectures ${both} PARENT_SCOPE)
endfunction()

set(architectures)
if(EDGECV_CUDA STREQUAL "AUTO" OR EDGECV_CUDA STREQUAL "ON")
  find_program(EDGECV_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_HOME /usr/local/cuda PATH_SUFFIXES bin)
  if(EDGECV_NVCC)
    set(architectures ${EDGECV_CUDA_ARCHITECTURES})
    if(NOT architectures)
      edgecv_find_architectures("${EDGECV_NVCC}")
    endif()
  elseif(EDGECV_CUDA STREQUAL "ON")
    message(FATAL_ERROR "edgecv: EDGECV_CUDA is ON, but there is no nvcc. Install the CUDA toolkit "
      "(or `pip install nvidia-cuda-nvcc`), set CUDA_HOME, or configure with EDGECV_CUDA=OFF.")
  else()
    message(STATUS "edgecv: no nvcc found, the CUDA kernels are left out")
  endif()
endif()

if(architectures)
  message(STATUS "edgecv: CUDA kernels for ${architectures}")
  # Machine code for each, and for GPUs yet to come the intermediate code of the newest.
  list(TRANSFORM architectures APPEND -real OUTPUT_VARIABLE CMAKE_CUDA_ARCHITECTURES)
  list(GET architectures -1 newest)
  list(APPEND CMAKE_CUDA_ARCHITECTURES ${newest}-virtual)
  set(CMAKE_CUDA_COMPILER "${EDGECV_NVCC}")
  set(CMAKE_CUDA_STANDARD 17)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  add_library(edgecv_cuda STATIC ${edgecv_cuda_sources})
  # As -ffp-contract=off for the processor: every device rounds alike. -Wextra would complain about
  # what nvcc itself writes.
  target_compile_options(edgecv_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:
    --fmad=false -Werror all-warnings -Xptxas=-v,-warn-spills -Xcompiler=-Wall,-Werror>)
  target_link_libraries(edgecv_cuda PUBLIC CUDA::cudart_static)
elseif(EDGECV_CUDA STREQUAL "EMULATED")
  find_path(EDGECV_CUDA_INCLUDE crt/host_defines.h REQUIRED
    HINTS ENV CUDA_HOME /usr/local/cuda PATH_SUFFIXES include)
  add_library(edgecv_cuda STATIC ${edgecv_cuda_sources} emulated/device.cc emulated/runtime.cc)
  set_source_files_properties(${edgecv_cuda_sources} PROPERTIES LANGUAGE CXX)
  # Fortified, longjmp takes a switch between stacks for an error.
  target_compile_options(edgecv_cuda PRIVATE -x c++ -U_FORTIFY_SOURCE -ffp-contract=off
    -Wall -Wextra -Werror)
  target_include_directories(edgecv_cuda SYSTEM PUBLIC "${EDGECV_CUDA_INCLUDE}")
  set(architectures emulated)
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
