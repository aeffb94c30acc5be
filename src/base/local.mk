libmagicbiz_la_SOURCES += \
	src/base/bytes.h \
	src/base/encode.h \
	src/base/error.h \
	src/base/hash.h \
	src/base/json.h \
	src/base/map.h \
	$(empty)
