libmagicbiz_la_SOURCES += \
	src/tor/advice.c \
	src/tor/auth.c \
	src/tor/clients.c \
	src/tor/control.c \
	src/tor/control.h \
	src/tor/internal.h \
	src/tor/link.c \
	src/tor/onion.c \
	src/tor/onions.c \
	src/tor/probe.c \
	src/tor/process.c \
	src/tor/socks.c \
	src/tor/tor.c \
	src/tor/tor.h \
	src/tor/version.c \
	$(empty)
check_PROGRAMS += tests/integration/tor-keeper
tests_integration_tor_keeper_SOURCES = tests/integration/tor-keeper.c
tests_integration_tor_keeper_LDADD = libmagicbiz.la $(SODIUM_LIBS)
unit_tests += tests/unit/test_control tests/unit/test_onion_key tests/unit/test_socks tests/unit/test_tor
fuzz_targets += tests/fuzz/fuzz_control tests/fuzz/fuzz_socks
EXTRA_DIST += tests/integration/tor.sh
