# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where (the presets say /usr), and the Debian packages that `cpack` makes of it: sluice (the
# director), sluice-realserver and sluice-ipvsadm, a component each. A rule without a component
# belongs to sluice.

set(packaging ${PROJECT_SOURCE_DIR}/packaging)
set(units lib/systemd/system)

install(TARGETS sluiced sluice DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT sluice)
install(TARGETS sluice-realserver DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT sluice-realserver)
# The very paths of the package that it replaces: /usr/sbin is the same folder, but dpkg does not know
# that, and would remove our files with that package's.
set(ipvsadm_dir ${CMAKE_INSTALL_FULL_SBINDIR})
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  set(ipvsadm_dir /sbin)
endif()
install(TARGETS ipvsadm DESTINATION ${ipvsadm_dir} COMPONENT sluice-ipvsadm)
install(FILES ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/ipvsadm-save  # symbolic links
              ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/ipvsadm-restore
        DESTINATION ${ipvsadm_dir} COMPONENT sluice-ipvsadm)

set(manuals ${PROJECT_SOURCE_DIR}/docs/man)
set(completions ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${manuals}/sluiced.8 ${manuals}/sluice.8
        DESTINATION ${CMAKE_INSTALL_MANDIR}/man8 COMPONENT sluice)
install(FILES ${manuals}/ipvsadm.8 ${manuals}/ipvsadm-save.8 ${manuals}/ipvsadm-restore.8
        DESTINATION ${CMAKE_INSTALL_MANDIR}/man8 COMPONENT sluice-ipvsadm)
install(FILES ${manuals}/sluice-realserver.8
        DESTINATION ${CMAKE_INSTALL_MANDIR}/man8 COMPONENT sluice-realserver)
install(FILES ${packaging}/bash-completion/sluice DESTINATION ${completions} COMPONENT sluice)
install(FILES ${packaging}/bash-completion/ipvsadm
        DESTINATION ${completions} COMPONENT sluice-ipvsadm)

foreach(unit sluiced sluice-realserver)
  configure_file(${packaging}/${unit}.service.in ${PROJECT_BINARY_DIR}/packaging/${unit}.service @ONLY)
endforeach()
install(FILES ${PROJECT_BINARY_DIR}/packaging/sluiced.service
        DESTINATION ${units} COMPONENT sluice)
install(FILES ${PROJECT_BINARY_DIR}/packaging/sluice-realserver.service
        DESTINATION ${units} COMPONENT sluice-realserver)

# A drop-in for another package's unit: whoever wants it puts it into place.
configure_file(${packaging}/keepalived-sluice.conf.in
               ${PROJECT_BINARY_DIR}/packaging/keepalived-sluice.conf @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/packaging/keepalived-sluice.conf
        DESTINATION ${CMAKE_INSTALL_DATADIR}/sluice COMPONENT sluice)
if(TARGET sluice-ipvs)
  install(TARGETS sluice-ipvs DESTINATION ${CMAKE_INSTALL_LIBDIR}/sluice COMPONENT sluice)
endif()

install(FILES ${packaging}/sluice.toml ${packaging}/rules
        DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/sluice COMPONENT sluice)
install(FILES ${packaging}/sluice-realserver.default RENAME sluice-realserver
        DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/default COMPONENT sluice-realserver)

install(FILES README.md CHANGELOG.md docs/operations.md docs/marks.md docs/metrics.md docs/moving-from-ipvs.md
              docs/removal.md docs/apply.md docs/ipvs-differences.md
        DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/sluice COMPONENT sluice)
foreach(package sluice sluice-realserver sluice-ipvsadm)
  install(FILES ${packaging}/debian/copyright
          DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${package} COMPONENT ${package})
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VENDOR Sluice)
set(CPACK_PACKAGE_CONTACT "The Sluice authors <root@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "layer-4 load balancer")
set(CPACK_SET_DESTDIR ON)  # for what lies in /etc
set(CPACK_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_STRIP_FILES ON)
set(CPACK_OUTPUT_FILE_PREFIX ${PROJECT_BINARY_DIR}/packages)
set(CPACK_COMPONENTS_ALL sluice sluice-realserver sluice-ipvsadm)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_SLUICE_PACKAGE_NAME sluice)
set(CPACK_DEBIAN_SLUICE_DESCRIPTION "layer-4 load balancer: the director
Linux Virtual Server as a program: balances TCP, UDP and SCTP by NAT, direct
routing and tunnels as the kernel's IPVS does, by XDP and AF_XDP.")
set(CPACK_DEBIAN_SLUICE_PACKAGE_RECOMMENDS "sluice-ipvsadm")
file(GLOB scripts CONFIGURE_DEPENDS ${packaging}/debian/sluice/*)
set(CPACK_DEBIAN_SLUICE_PACKAGE_CONTROL_EXTRA ${scripts})

set(CPACK_DEBIAN_SLUICE-REALSERVER_PACKAGE_NAME sluice-realserver)
set(CPACK_DEBIAN_SLUICE-REALSERVER_DESCRIPTION "layer-4 load balancer: set-up of real servers
Sets what a real server of LVS or Sluice needs (virtual addresses, ARP, filters,
decapsulation), and takes exactly that back. Needs no director on the host.")
file(GLOB scripts CONFIGURE_DEPENDS ${packaging}/debian/sluice-realserver/*)
set(CPACK_DEBIAN_SLUICE-REALSERVER_PACKAGE_CONTROL_EXTRA ${scripts})

# Provides keeps "Depends: ipvsadm" of others satisfied; Conflicts and Replaces let it take the
# place of the package of that name.
set(CPACK_DEBIAN_SLUICE-IPVSADM_PACKAGE_NAME sluice-ipvsadm)
set(CPACK_DEBIAN_SLUICE-IPVSADM_DESCRIPTION "layer-4 load balancer: ipvsadm
The command ipvsadm, for sluiced in place of the kernel's IPVS.")
set(CPACK_DEBIAN_SLUICE-IPVSADM_PACKAGE_DEPENDS "sluice (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_SLUICE-IPVSADM_PACKAGE_PROVIDES "ipvsadm (= 1:1.31)")
set(CPACK_DEBIAN_SLUICE-IPVSADM_PACKAGE_CONFLICTS "ipvsadm")
set(CPACK_DEBIAN_SLUICE-IPVSADM_PACKAGE_REPLACES "ipvsadm")

include(CPack)
