libmagicbiz_la_SOURCES += \
	$(empty)
