// SPDX-License-Identifier: Apache-2.0
// Takes the place of the C library's look-up of names: inputs name many hosts, and no fuzzing
// engine should ask a name server for them, or read /etc/services for every port. There is one
// host, "real1", and a few services.
#include <netdb.h>
#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string_view>

namespace {

struct Service {
  const char* name;
  std::uint16_t port;
};
constexpr std::array kServices{Service{"ftp-data", 20}, Service{"ftp", 21},
                               Service{"domain", 53},   Service{"http", 80},
                               Service{"https", 443},   Service{"sip", 5060}};

char** no_aliases() {
  static std::array<char*, 1> none{nullptr};
  return none.data();
}

template <class Wanted>
servent* find(servent* entry, const char* protocol, Wanted is_wanted) {
  for (const auto& service : kServices) {
    if (!is_wanted(service)) continue;
    *entry = {.s_name = const_cast<char*>(service.name),
              .s_aliases = no_aliases(),
              .s_port = htons(service.port),
              .s_proto = const_cast<char*>(protocol)};
    return entry;
  }
  return nullptr;
}

}  // namespace

extern "C" {

int gethostbyname2_r(const char* name, int family, hostent* entry, char* buffer, size_t size,
                     hostent** result, int* error) {
  static in_addr address{htonl(0x0a000067)};
  static char* addresses[]{reinterpret_cast<char*>(&address), nullptr};
  *result = nullptr;
  *error = HOST_NOT_FOUND;
  if (std::string_view(name) != "real1" || family != AF_INET) return 0;
  if (size == 0) return ERANGE;
  buffer[0] = '\0';
  *entry = {.h_name = buffer,
            .h_aliases = no_aliases(),
            .h_addrtype = AF_INET,
            .h_length = sizeof(address),
            .h_addr_list = addresses};
  *result = entry;
  *error = 0;
  return 0;
}

int getservbyname_r(const char* name, const char* protocol, servent* entry, char*, size_t,
                    servent** result) {
  *result = find(entry, protocol,
                 [name](const Service& service) { return std::string_view(name) == service.name; });
  return 0;
}

int getservbyport_r(int port, const char* protocol, servent* entry, char*, size_t,
                    servent** result) {
  *result =
      find(entry, protocol, [port](const Service& service) { return port == htons(service.port); });
  return 0;
}

servent* getservbyname(const char* name, const char* protocol) {
  static servent entry;
  servent* result = nullptr;
  getservbyname_r(name, protocol, &entry, nullptr, 0, &result);
  return result;
}

}  // extern "C"
