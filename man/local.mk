dist_man_MANS += man/git-remote-magicbiz.1 man/magicbiz.1 man/magicbiz.conf.5 man/magicbizd.8 man/magicbiz-protocol.7 \
	man/magicbiz-books.7 man/magicbiz-gov.7 man/magicbiz-rulebook.7 man/magicbiz-rules.7 man/magicbiz-vcs.7
EXTRA_DIST += man/magicbiz.1.in man/magicbiz.conf.5.in
CLEANFILES += man/magicbiz.1 man/magicbiz.conf.5

# What the tables in the programs say goes in place of the line @TABLES@.
mb_manual = $(MKDIR_P) man && \
	env MAGICBIZ_MODULE_DIR='$(abs_builddir)/modules/.libs' ASAN_OPTIONS=detect_leaks=0 \
	    $$program > $@.part && \
	sed -e '/^@TABLES@$$/r $@.part' -e '/^@TABLES@$$/d' $$page > $@.new && \
	rm $@.part && mv $@.new $@
man/magicbiz.1: man/magicbiz.1.in magicbiz$(EXEEXT)
	$(AM_V_GEN)program='./magicbiz manual'; page='$(srcdir)/man/magicbiz.1.in'; $(mb_manual)
man/magicbiz.conf.5: man/magicbiz.conf.5.in magicbizd$(EXEEXT) modules/vcs.la
	$(AM_V_GEN)program='./magicbizd manual vcs'; page='$(srcdir)/man/magicbiz.conf.5.in'; $(mb_manual)
