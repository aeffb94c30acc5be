sbin_PROGRAMS += magicbizd
magicbizd_SOURCES = \
	src/daemon/api.c src/daemon/api.h \
	src/daemon/api_operator.c \
	src/daemon/api_read.c \
	src/daemon/api_replica.c \
	src/daemon/api_stream.c \
	src/daemon/apply.c \
	src/daemon/beacon.c \
	src/daemon/checkpoints.c \
	src/daemon/consensus.c src/daemon/consensus_receive.c src/daemon/consensus_watch.c src/daemon/consensus_internal.h src/daemon/consensus.h \
	src/daemon/fetch.c src/daemon/fetch.h \
	src/daemon/fetch_install.c \
	src/daemon/follow.c src/daemon/follow.h \
	src/daemon/found.c src/daemon/found.h \
	src/daemon/init.c \
	src/daemon/join.c \
	src/daemon/lease.c \
	src/daemon/links.c \
	src/daemon/main.c \
	src/daemon/node.h \
	src/daemon/onion_keys.c src/daemon/onion_keys.h \
	src/daemon/onions.c \
	src/daemon/options.c \
	src/daemon/plan.c src/daemon/plan.h \
	src/daemon/pull.c src/daemon/pull.h \
	src/daemon/pull_check.c \
	src/daemon/recover.c \
	src/daemon/run.c \
	src/daemon/sequence.c \
	src/daemon/settle.c \
	src/daemon/snapshots.c
magicbizd_LDADD = libmagicbiz.la $(JANSSON_LIBS) $(SODIUM_LIBS) $(SYSTEMD_LIBS)
unit_tests += tests/unit/test_plan tests/unit/test_pull
tests_unit_test_plan_SOURCES = tests/unit/test_plan.c src/daemon/plan.c src/daemon/plan.h
tests_unit_test_pull_SOURCES = tests/unit/test_pull.c src/daemon/pull_check.c src/daemon/pull.h
