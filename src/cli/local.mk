bin_PROGRAMS += magicbiz
magicbiz_SOURCES = \
	src/cli/cli.h \
	src/cli/access.c src/cli/access.h \
	src/cli/amount.c src/cli/amount.h \
	src/cli/cmd_access.c \
	src/cli/cmd_access_extract.c \
	src/cli/cmd_books.c \
	src/cli/cmd_completion.c \
	src/cli/cmd_id.c \
	src/cli/cmd_inbox.c \
	src/cli/cmd_log.c \
	src/cli/cmd_member.c \
	src/cli/cmd_org.c \
	src/cli/cmd_proposal.c \
	src/cli/cmd_proposal_show.c \
	src/cli/cmd_replica.c \
	src/cli/cmd_repo.c \
	src/cli/cmd_repo_scrub.c \
	src/cli/cmd_repo_setup.c \
	src/cli/cmd_rules.c \
	src/cli/cmd_state.c \
	src/cli/commands.c \
	src/cli/fail.c \
	src/cli/gov.c src/cli/gov.h \
	src/cli/handover.c \
	src/cli/help.c src/cli/help.h \
	src/cli/identity.c \
	src/cli/main.c \
	src/cli/module.c \
	src/cli/org.c \
	src/cli/remote.c \
	src/cli/replay.c \
	src/cli/run.c \
	src/cli/scrub.c src/cli/scrub.h \
	src/cli/show.c src/cli/show.h \
	src/cli/submit.c \
	src/cli/verify.c
magicbiz_LDADD = libmagicbiz.la $(GIT2_LIBS) $(JANSSON_LIBS) $(SODIUM_LIBS)

bin_PROGRAMS += git-remote-magicbiz
git_remote_magicbiz_SOURCES = \
	src/cli/cli.h \
	src/cli/fail.c \
	src/cli/git-remote-magicbiz.c \
	src/cli/handover.c \
	src/cli/identity.c \
	src/cli/module.c \
	src/cli/org.c \
	src/cli/remote.c \
	src/cli/run.c \
	src/cli/verify.c
git_remote_magicbiz_LDADD = libmagicbiz.la $(JANSSON_LIBS) $(SODIUM_LIBS)

unit_tests += tests/unit/test_access_offline tests/unit/test_cli tests/unit/test_amount tests/unit/test_cli_replicas
tests_unit_test_cli_SOURCES = tests/unit/test_cli.c src/cli/scrub.c src/cli/show.c
tests_unit_test_cli_replicas_SOURCES = tests/unit/test_cli_replicas.c src/cli/handover.c src/cli/verify.c
fuzz_targets += tests/fuzz/fuzz_access tests/fuzz/fuzz_cli_pin tests/fuzz/fuzz_scrub
tests_fuzz_fuzz_cli_pin_SOURCES = tests/fuzz/fuzz_cli_pin.c
tests_fuzz_fuzz_scrub_SOURCES = tests/fuzz/fuzz_scrub.c src/cli/scrub.c
tests_fuzz_fuzz_scrub_LDADD = modules/vcs/libvcs.la $(LDADD)
tests_unit_test_amount_SOURCES = tests/unit/test_amount.c src/cli/amount.c
tests_unit_test_access_offline_SOURCES = tests/unit/test_access_offline.c src/cli/access.c
tests_fuzz_fuzz_access_SOURCES = tests/fuzz/fuzz_access.c src/cli/access.c
