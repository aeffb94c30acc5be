libmagicbiz_la_SOURCES += \
	src/peer/ask.c \
	src/peer/bulk.c \
	src/peer/dial.c \
	src/peer/frame.c \
	src/peer/frame.h \
	src/peer/internal.h \
	src/peer/peer.h \
	src/peer/peers.c \
	src/peer/serve.c \
	src/peer/session.c \
	src/peer/stream.c \
	src/peer/tls.c \
	src/peer/tls.h \
	$(empty)
check_PROGRAMS += tests/integration/peer-pair
tests_integration_peer_pair_SOURCES = tests/integration/peer-pair.c
tests_integration_peer_pair_LDADD = libmagicbiz.la $(SODIUM_LIBS)
unit_tests += tests/unit/test_peer tests/unit/test_peer_bulk tests/unit/test_peer_frame
fuzz_targets += tests/fuzz/fuzz_peer_frame
