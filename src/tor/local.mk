libmagicbiz_la_SOURCES += \
	src/tor/control.h \
	src/tor/tor.h \
	$(empty)
