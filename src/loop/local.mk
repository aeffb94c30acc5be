libmagicbiz_la_SOURCES += \
	src/loop/child.c \
	src/loop/fault.h \
	src/loop/internal.h \
	src/loop/log.c \
	src/loop/log.h \
	src/loop/loop.c \
	src/loop/loop.h \
	src/loop/unix.c \
	src/loop/work.c \
	$(empty)
if FAULTS
libmagicbiz_la_SOURCES += src/loop/fault.c
endif
unit_tests += tests/unit/test_log tests/unit/test_loop
