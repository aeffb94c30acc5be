libmagicbiz_la_SOURCES += \
	src/wal/archive.h \
	src/wal/wal.h \
	$(empty)
