// SPDX-License-Identifier: Apache-2.0
// Takes the place of the C library's look-up of host names: inputs name many, and no fuzzing
// engine should ask a name server for them. There is one host, "real1".
#include <netdb.h>
#include <netinet/in.h>

#include <cerrno>
#include <string_view>

extern "C" int gethostbyname2_r(const char* name, int family, hostent* entry, char* buffer,
                                size_t size, hostent** result, int* error) {
  static in_addr address{htonl(0x0a000067)};
  static char* addresses[]{reinterpret_cast<char*>(&address), nullptr};
  static char* aliases[]{nullptr};
  *result = nullptr;
  *error = HOST_NOT_FOUND;
  if (std::string_view(name) != "real1" || family != AF_INET) return 0;
  if (size == 0) return ERANGE;
  buffer[0] = '\0';
  *entry = {.h_name = buffer,
            .h_aliases = aliases,
            .h_addrtype = AF_INET,
            .h_length = sizeof(address),
            .h_addr_list = addresses};
  *result = entry;
  *error = 0;
  return 0;
}
