confexamplesdir = $(docdir)/examples
dist_confexamples_DATA = conf/magicbiz.conf
rulebookdir = $(pkgdatadir)/rulebooks
dist_rulebook_DATA = conf/rulebooks/artists.lua conf/rulebooks/cooperative.lua conf/rulebooks/federation.lua \
	conf/rulebooks/makerspace.lua
