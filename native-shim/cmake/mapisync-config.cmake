# find_package(mapisync): two ways to take the shim into a provider, from the folder that
# `mapisync sdk copy` made.
#
#   mapisync::source   compiled into the provider's own library: no file more to ship. Needs C++17.
#   mapisync::shared   the DLL beside the provider, linked by its import library. Exists where the SDK
#                      has one for the system and bitness that is built for.
get_filename_component(_mapisync_sdk "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

if(NOT TARGET mapisync::source)
  add_library(mapisync::source INTERFACE IMPORTED)
  set_target_properties(mapisync::source PROPERTIES
    INTERFACE_SOURCES "${_mapisync_sdk}/src/mapisync.cc"
    INTERFACE_INCLUDE_DIRECTORIES "${_mapisync_sdk}/include"
    INTERFACE_COMPILE_FEATURES cxx_std_17)
  if(WIN32)
    set_property(TARGET mapisync::source PROPERTY INTERFACE_LINK_LIBRARIES advapi32 bcrypt)
  else()
    include(CMakeFindDependencyMacro)
    find_dependency(Threads)
    set_property(TARGET mapisync::source PROPERTY
      INTERFACE_LINK_LIBRARIES Threads::Threads ${CMAKE_DL_LIBS})
    if(NOT APPLE)
      # The worker's thread runs in the library to the end of the process.
      set_property(TARGET mapisync::source PROPERTY INTERFACE_LINK_OPTIONS "LINKER:-z,nodelete")
    endif()
  endif()
endif()

if(WIN32 AND CMAKE_SIZEOF_VOID_P EQUAL 8)
  set(_mapisync_target win-x64)
elseif(WIN32)
  set(_mapisync_target win-x86)
elseif(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  set(_mapisync_target linux-x64)
endif()
if(NOT TARGET mapisync::shared AND DEFINED _mapisync_target)
  if(WIN32)
    set(_mapisync_library "${_mapisync_sdk}/bin/${_mapisync_target}/mapisync.dll")
  else()
    set(_mapisync_library "${_mapisync_sdk}/bin/${_mapisync_target}/libmapisync.so")
  endif()
  if(EXISTS "${_mapisync_library}")
    add_library(mapisync::shared SHARED IMPORTED)
    set_target_properties(mapisync::shared PROPERTIES
      IMPORTED_LOCATION "${_mapisync_library}"
      INTERFACE_INCLUDE_DIRECTORIES "${_mapisync_sdk}/include"
      INTERFACE_COMPILE_DEFINITIONS MAPISYNC_SHARED)
    if(WIN32)
      set_property(TARGET mapisync::shared PROPERTY
        IMPORTED_IMPLIB "${_mapisync_sdk}/lib/${_mapisync_target}/mapisync.lib")
    endif()
  endif()
  unset(_mapisync_library)
endif()
unset(_mapisync_target)
unset(_mapisync_sdk)
