libmagicbiz_la_SOURCES += \
	src/peer/peer.h \
	$(empty)
