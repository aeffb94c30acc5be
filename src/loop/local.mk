libmagicbiz_la_SOURCES += \
	src/loop/log.h \
	src/loop/loop.h \
	$(empty)
