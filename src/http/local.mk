libmagicbiz_la_SOURCES += \
	src/http/client.h \
	src/http/server.h \
	$(empty)
