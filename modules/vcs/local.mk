module_LTLIBRARIES += modules/vcs.la
modules_vcs_la_SOURCES = \
	modules/vcs/vcs.c modules/vcs/vcs.h \
	modules/vcs/vcs_apply.c
modules_vcs_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared
modules_vcs_la_LIBADD = libmagicbiz.la $(GIT2_LIBS) $(JANSSON_LIBS)
