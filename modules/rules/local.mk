module_LTLIBRARIES += modules/rules.la
modules_rules_la_SOURCES = modules/rules/rules.c
modules_rules_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared
modules_rules_la_LIBADD = modules/rules/librules.la libmagicbiz.la $(JANSSON_LIBS)

# What touches nothing outside: tests link it too.
noinst_LTLIBRARIES += modules/rules/librules.la
modules_rules_librules_la_SOURCES = \
	modules/rules/rules.h \
	modules/rules/rules_apply.c

unit_tests += tests/unit/test_rules_apply tests/unit/test_rulebooks
tests_unit_test_rules_apply_LDADD = modules/rules/librules.la $(LDADD)
tests_unit_test_rulebooks_LDADD = modules/rules/librules.la $(LDADD)
integration_tests += tests/integration/rules.sh tests/integration/cooperative.sh \
	tests/integration/federation.sh tests/integration/artists.sh \
	tests/integration/makerspace.sh
