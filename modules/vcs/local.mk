module_LTLIBRARIES += modules/vcs.la
modules_vcs_la_SOURCES = \
	modules/vcs/vcs.c modules/vcs/vcs_world.h \
	modules/vcs/vcs_behind.c \
	modules/vcs/vcs_check.c \
	modules/vcs/vcs_fetch.c \
	modules/vcs/vcs_follow.c \
	modules/vcs/vcs_git.c \
	modules/vcs/vcs_receive.c \
	modules/vcs/vcs_repos.c \
	modules/vcs/vcs_share.c \
	modules/vcs/vcs_spool.c
modules_vcs_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared
modules_vcs_la_LIBADD = modules/vcs/libvcs.la libmagicbiz.la $(GIT2_LIBS) $(JANSSON_LIBS)

# What touches nothing outside: tests link it too.
noinst_LTLIBRARIES += modules/vcs/libvcs.la
modules_vcs_libvcs_la_SOURCES = \
	modules/vcs/vcs.h \
	modules/vcs/vcs_apply.c modules/vcs/vcs_push_apply.c modules/vcs/vcs_state.h \
	modules/vcs/vcs_head.c modules/vcs/vcs_head.h \
	modules/vcs/vcs_packed.c modules/vcs/vcs_packed.h \
	modules/vcs/vcs_pktline.c modules/vcs/vcs_pktline.h \
	modules/vcs/vcs_policy.c modules/vcs/vcs_policy.h \
	modules/vcs/vcs_refs.c

unit_tests += tests/unit/test_vcs_apply tests/unit/test_vcs_head tests/unit/test_vcs_packed \
	tests/unit/test_vcs_policy tests/unit/test_vcs_refs
tests_unit_test_vcs_apply_LDADD = modules/vcs/libvcs.la $(LDADD)
tests_unit_test_vcs_head_LDADD = modules/vcs/libvcs.la $(LDADD)
tests_unit_test_vcs_packed_LDADD = modules/vcs/libvcs.la $(LDADD)
tests_unit_test_vcs_policy_LDADD = modules/vcs/libvcs.la $(LDADD)
tests_unit_test_vcs_refs_LDADD = modules/vcs/libvcs.la $(LDADD)
fuzz_targets += tests/fuzz/fuzz_vcs_head tests/fuzz/fuzz_vcs_policy
tests_fuzz_fuzz_vcs_head_LDADD = modules/vcs/libvcs.la $(LDADD)
tests_fuzz_fuzz_vcs_policy_LDADD = modules/vcs/libvcs.la $(LDADD)
integration_tests += tests/integration/push.sh tests/integration/large.sh tests/integration/faults.sh tests/integration/packs.sh
