confexamplesdir = $(docdir)/examples
dist_confexamples_DATA = conf/magicbiz.conf
