libmagicbiz_la_SOURCES += \
	src/ledger/backend.h \
	$(empty)
