libmagicbiz_la_SOURCES += \
	src/host/config.h \
	src/host/modules.h \
	$(empty)
