libmagicbiz_la_SOURCES += \
	src/store/backend.c \
	src/store/cache.c src/store/internal.h \
	src/store/layer.c src/store/layer.h \
	src/store/sql.c src/store/sql.h \
	src/store/store.c src/store/store.h \
	src/store/verify.c \
	src/store/view.c \
	$(empty)
unit_tests += tests/unit/test_backend tests/unit/test_store
bench_programs += tests/bench/bench_state
