# Unit tests and fuzz targets are named by the folder that they test: unit_tests += …, fuzz_targets += …
# in its local.mk; a program tests/unit/test_x has the one source tests/unit/test_x.c.
if HAVE_CMOCKA
check_PROGRAMS += $(unit_tests)
endif
check_PROGRAMS += $(fuzz_targets)
noinst_LTLIBRARIES += tests/libsupport.la
tests_libsupport_la_SOURCES = tests/fuzz/driver.c tests/support/chain.c tests/support/chain.h tests/support/org.c tests/support/org.h \
	tests/support/peers.c tests/support/peers.h \
	tests/support/tools.c tests/support/tools.h
LDADD = $(FUZZER_LIBS) tests/libsupport.la libmagicbiz.la $(CMOCKA_LIBS) $(JANSSON_LIBS) $(SODIUM_LIBS) $(SSL_LIBS) $(CRYPTO_LIBS) \
	$(EVENT_LIBS) $(SQLITE_LIBS) $(CURL_LIBS) $(ZLIB_LIBS) -lpthread

lint_tests = tests/lint/layers tests/lint/banned tests/lint/purity tests/lint/manuals tests/lint/rulebooks
AM_TESTS_ENVIRONMENT = srcdir='$(abs_srcdir)' builddir='$(abs_builddir)' CC='$(CC)' NM='$(NM)'; \
	MB_SIM_SEEDS='$(MB_SIM_SEEDS)'; export srcdir builddir CC NM MB_SIM_SEEDS;
quick_tests = $(lint_tests)
if HAVE_CMOCKA
quick_tests += $(unit_tests)
endif
# libFuzzer's programs run until they are stopped.
if !FUZZING
quick_tests += $(fuzz_targets)
endif
TESTS += $(quick_tests)

# What every landing runs: lints, units, and a short run of each fuzz target.
check-quick: all
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(quick_tests)'
.PHONY: check-quick

# The real programs, on the private Tor network or on Unix sockets: integration_tests += … in the
# folder's local.mk. contrib/check runs each; so does make check-integration.
print-integration-tests:
	@echo $(integration_tests)
check-integration: all $(check_PROGRAMS) $(check_LTLIBRARIES)
	@failed=0; for t in $(integration_tests); do \
	    srcdir='$(abs_srcdir)' builddir='$(abs_builddir)' $(abs_srcdir)/$$t || failed=1; \
	done; exit $$failed
# In a minimal Debian 12 made for it: the README's two commands, as they stand there.
check-fresh:
	$(srcdir)/contrib/fresh
.PHONY: print-integration-tests check-integration check-fresh
# The consensus core's model, searched exhaustively by spin: nightly, for it takes two minutes.
check-model:
	srcdir='$(abs_srcdir)' CC='$(CC)' $(srcdir)/tests/model/check
.PHONY: check-model
EXTRA_DIST += tests/model/check tests/model/paxos.pml
integration_tests += tests/integration/daemon.sh tests/integration/member.sh tests/integration/durable.sh tests/integration/quickstart.sh tests/integration/org.sh tests/integration/lease.sh tests/integration/replicas.sh tests/integration/leak.sh
EXTRA_DIST += $(integration_tests) tests/integration/lib.sh tests/integration/lib-replicas.sh

EXTRA_DIST += $(lint_tests) tests/lint/layers.txt tests/lint/purity.allow tests/lint/purity.sanitizers \
	tests/fuzz/corpus
CLEANFILES += crash-fuzz_*

check_PROGRAMS += tests/integration/relay tests/integration/chaos-client tests/integration/chaos-proxy
integration_tests += tests/integration/chaos.sh tests/integration/liar.sh tests/integration/snapshot.sh
EXTRA_DIST += tests/integration/faults-build.sh
# Replicas under fault after fault, for five minutes.
soak: all tests/integration/chaos-client tests/integration/chaos-proxy
	MB_CHAOS_SECONDS=$${MB_CHAOS_SECONDS:-300} MB_CHAOS_CLIENTS=$${MB_CHAOS_CLIENTS:-8} \
	    srcdir='$(abs_srcdir)' builddir='$(abs_builddir)' $(srcdir)/tests/integration/chaos.sh
.PHONY: soak

# Speed and memory: lines "name value unit".
# Beside the programs that folders name themselves: those that run a real magicbizd.
daemon_benchmarks = tests/bench/bench_commands tests/bench/bench_memory tests/bench/bench_pushes tests/bench/bench_restart \
	tests/bench/bench_replicas tests/bench/bench_links tests/bench/bench_catchup
tests_bench_bench_links_SOURCES = tests/bench/bench_links.c tests/bench/daemon.c tests/bench/daemon.h \
	tests/bench/load.c tests/bench/load.h \
	tests/bench/replicas.c tests/bench/replicas.h
tests_bench_bench_catchup_SOURCES = tests/bench/bench_catchup.c tests/bench/daemon.c tests/bench/daemon.h \
	tests/bench/filler.h tests/bench/load.c tests/bench/load.h
tests_bench_bench_commands_SOURCES = tests/bench/bench_commands.c tests/bench/daemon.c tests/bench/daemon.h \
	tests/bench/load.c tests/bench/load.h
tests_bench_bench_replicas_SOURCES = tests/bench/bench_replicas.c tests/bench/daemon.c tests/bench/daemon.h \
	tests/bench/load.c tests/bench/load.h tests/bench/peer_load.c tests/bench/peer_load.h \
	tests/bench/replicas.c tests/bench/replicas.h
tests_bench_bench_memory_SOURCES = tests/bench/bench_memory.c tests/bench/daemon.c tests/bench/daemon.h
tests_bench_bench_pushes_SOURCES = tests/bench/bench_pushes.c tests/bench/daemon.c tests/bench/daemon.h
tests_bench_bench_restart_SOURCES = tests/bench/bench_restart.c tests/bench/daemon.c tests/bench/daemon.h \
	tests/bench/filler.h
bench_programs += $(daemon_benchmarks)
# What bench_replicas starts.
bench_helpers = tests/bench/paxos_peer
tests_bench_paxos_peer_SOURCES = tests/bench/paxos_peer.c tests/bench/daemon.c tests/bench/daemon.h \
	tests/bench/peer_load.c tests/bench/peer_load.h
if HAVE_RAFT
bench_helpers += tests/bench/raft_peer
endif
tests_bench_raft_peer_SOURCES = tests/bench/raft_peer.c tests/bench/daemon.c tests/bench/daemon.h \
	tests/bench/peer_load.c tests/bench/peer_load.h
tests_bench_raft_peer_LDADD = $(LDADD) $(RAFT_LIBS)
check_LTLIBRARIES = tests/bench/filler.la
EXTRA_LTLIBRARIES = tests/bench/no_verify.la
tests_bench_no_verify_la_SOURCES = tests/bench/no_verify.c
tests_bench_no_verify_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nowhere
tests_bench_filler_la_SOURCES = tests/bench/filler.c tests/bench/filler.h
tests_bench_filler_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nowhere
tests_bench_filler_la_LIBADD = libmagicbiz.la $(JANSSON_LIBS)
EXTRA_PROGRAMS = $(bench_programs) tests/bench/paxos_peer tests/bench/raft_peer
bench: all $(bench_programs) $(bench_helpers) tests/bench/filler.la tests/bench/no_verify.la tests/integration/relay \
		tests/integration/chaos-proxy
	@for b in $(bench_programs); do ./$$b || exit 1; done
	@srcdir='$(abs_srcdir)' builddir='$(abs_builddir)' $(srcdir)/tests/bench/clone-tor.sh
EXTRA_DIST += tests/bench/clone-tor.sh
.PHONY: bench
CLEANFILES += $(bench_programs) $(bench_helpers)

# The simulator of consensus, on the daemon's own objects; and on cores that are broken on purpose.
sim_sources = tests/sim/commands.c tests/sim/host.c tests/sim/main.c tests/sim/sim.h tests/sim/state.c tests/sim/world.c
sim_libs = modules/books/libbooks.la modules/gov/libgov.la modules/rules/librules.la modules/vcs/libvcs.la \
	$(LDADD)
paxos_sources = src/paxos/acceptor.c src/paxos/election.c src/paxos/leader.c src/paxos/learner.c \
	src/paxos/message.c src/paxos/paxos.c src/paxos/reads.c
check_LTLIBRARIES += tests/libsim.la
tests_libsim_la_SOURCES = $(sim_sources)
check_PROGRAMS += tests/sim/paxos-sim
tests_sim_paxos_sim_SOURCES =
tests_sim_paxos_sim_LDADD = tests/libsim.la $(sim_libs)
check_PROGRAMS += tests/sim/broken-1
tests_sim_broken_1_SOURCES = $(paxos_sources)
tests_sim_broken_1_CPPFLAGS = $(AM_CPPFLAGS) -DMB_PAXOS_BUG=1
tests_sim_broken_1_LDADD = tests/libsim.la $(sim_libs)
check_PROGRAMS += tests/sim/broken-2
tests_sim_broken_2_SOURCES = $(paxos_sources)
tests_sim_broken_2_CPPFLAGS = $(AM_CPPFLAGS) -DMB_PAXOS_BUG=2
tests_sim_broken_2_LDADD = tests/libsim.la $(sim_libs)
check_PROGRAMS += tests/sim/broken-3
tests_sim_broken_3_SOURCES = $(paxos_sources)
tests_sim_broken_3_CPPFLAGS = $(AM_CPPFLAGS) -DMB_PAXOS_BUG=3
tests_sim_broken_3_LDADD = tests/libsim.la $(sim_libs)
check_PROGRAMS += tests/sim/broken-4
tests_sim_broken_4_SOURCES = $(paxos_sources)
tests_sim_broken_4_CPPFLAGS = $(AM_CPPFLAGS) -DMB_PAXOS_BUG=4
tests_sim_broken_4_LDADD = tests/libsim.la $(sim_libs)
check_PROGRAMS += tests/sim/broken-5
tests_sim_broken_5_SOURCES = $(paxos_sources)
tests_sim_broken_5_CPPFLAGS = $(AM_CPPFLAGS) -DMB_PAXOS_BUG=5
tests_sim_broken_5_LDADD = tests/libsim.la $(sim_libs)
TESTS += tests/sim/check
EXTRA_DIST += tests/sim/check

# Whether two builds of the same ledger agree on random commands: tests/agree/check BUILD BUILD.
check_PROGRAMS += tests/agree/agree
tests_agree_agree_SOURCES = tests/agree/agree.c tests/agree/agree.h tests/agree/commands.c
tests_agree_agree_LDADD = modules/books/libbooks.la modules/gov/libgov.la modules/rules/librules.la \
	modules/vcs/libvcs.la $(LDADD)
EXTRA_DIST += tests/agree/check tests/agree/rulebook.lua
# This build, and one by the other compiler under sanitizers that is named: make check-agree OTHER=DIR
check-agree: tests/agree/agree
	MB_AGREE_COMMANDS=$${MB_AGREE_COMMANDS:-100000} srcdir='$(abs_srcdir)' \
	    $(srcdir)/tests/agree/check '$(abs_builddir)' '$(OTHER)'
.PHONY: check-agree
