module_LTLIBRARIES += modules/vcs.la
modules_vcs_la_SOURCES = \
	modules/vcs/vcs.c modules/vcs/vcs.h modules/vcs/vcs_world.h \
	modules/vcs/vcs_apply.c \
	modules/vcs/vcs_check.c \
	modules/vcs/vcs_fetch.c \
	modules/vcs/vcs_git.c \
	modules/vcs/vcs_head.c modules/vcs/vcs_head.h \
	modules/vcs/vcs_pktline.c modules/vcs/vcs_pktline.h \
	modules/vcs/vcs_policy.c modules/vcs/vcs_policy.h \
	modules/vcs/vcs_receive.c \
	modules/vcs/vcs_refs.c \
	modules/vcs/vcs_repos.c
modules_vcs_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared
modules_vcs_la_LIBADD = libmagicbiz.la $(GIT2_LIBS) $(JANSSON_LIBS)

integration_tests += tests/integration/push.sh
