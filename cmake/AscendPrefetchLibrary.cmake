# ascend_prefetch_library(NAME [SOURCES glob...] [INCLUDE dir...] [LINK target...])
#
# Adds a static library of the sources that match the globs. INCLUDE and LINK apply to the library and
# to everything that links it. A header-only library, which has no sources, becomes an INTERFACE
# library.
function(ascend_prefetch_library NAME)
    cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "SOURCES;INCLUDE;LINK")
    file(GLOB SOURCES CONFIGURE_DEPENDS ${ARG_SOURCES})
    if(SOURCES)
        add_library(${NAME} STATIC ${SOURCES})
        set(SCOPE PUBLIC)
    else()
        add_library(${NAME} INTERFACE)
        set(SCOPE INTERFACE)
    endif()
    target_include_directories(${NAME} ${SCOPE} ${ARG_INCLUDE})
    target_link_libraries(${NAME} ${SCOPE} ${ARG_LINK})
endfunction()
