libmagicbiz_la_SOURCES += \
	src/host/config.c src/host/config.h \
	src/host/file.c \
	src/host/host.c src/host/host.h \
	src/host/modules.c src/host/modules.h \
	src/host/pin.c src/host/pin.h
unit_tests += tests/unit/test_config
fuzz_targets += tests/fuzz/fuzz_config
