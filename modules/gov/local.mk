module_LTLIBRARIES += modules/gov.la
modules_gov_la_SOURCES = modules/gov/gov.c
modules_gov_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared
modules_gov_la_LIBADD = modules/gov/libgov.la libmagicbiz.la $(JANSSON_LIBS)

# What touches nothing outside: tests link it too.
noinst_LTLIBRARIES += modules/gov/libgov.la
modules_gov_libgov_la_SOURCES = \
	modules/gov/gov.h modules/gov/gov_state.h \
	modules/gov/gov_apply.c \
	modules/gov/gov_ballots_apply.c \
	modules/gov/gov_count_apply.c \
	modules/gov/gov_delegation_apply.c \
	modules/gov/gov_life_apply.c \
	modules/gov/gov_members_apply.c \
	modules/gov/gov_procedures_apply.c \
	modules/gov/gov_proposals_apply.c

unit_tests += tests/unit/test_gov_apply tests/unit/test_gov_attacks
tests_unit_test_gov_apply_SOURCES = tests/unit/test_gov_apply.c tests/support/gov.c tests/support/gov.h
tests_unit_test_gov_apply_LDADD = modules/gov/libgov.la $(LDADD)
tests_unit_test_gov_attacks_SOURCES = tests/unit/test_gov_attacks.c tests/support/gov.c tests/support/gov.h
tests_unit_test_gov_attacks_LDADD = modules/gov/libgov.la $(LDADD)
integration_tests += tests/integration/gov.sh tests/integration/constitution.sh
bench_programs += tests/bench/bench_gov
tests_bench_bench_gov_LDADD = modules/gov/libgov.la $(LDADD)
