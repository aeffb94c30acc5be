libmagicbiz_la_SOURCES += \
	src/merkle/history.h \
	src/merkle/tree.h \
	$(empty)
