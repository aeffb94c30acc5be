libmagicbiz_la_SOURCES += \
	src/store/store.h \
	$(empty)
