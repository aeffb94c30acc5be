libmagicbiz_la_SOURCES += \
	src/wal/archive.c \
	src/wal/archive.h \
	src/wal/archive_file.c \
	src/wal/archive_file.h \
	src/wal/archive_index.c \
	src/wal/archive_internal.h \
	src/wal/archive_open.c \
	src/wal/crc32c.c \
	src/wal/crc32c.h \
	src/wal/file.c \
	src/wal/folder.c \
	src/wal/folder.h \
	src/wal/internal.h \
	src/wal/recover.c \
	src/wal/segment.c \
	src/wal/segment.h \
	src/wal/wal.c \
	src/wal/wal.h \
	$(empty)
unit_tests += tests/unit/test_archive tests/unit/test_wal tests/unit/test_wal_damage
fuzz_targets += tests/fuzz/fuzz_archive tests/fuzz/fuzz_wal_segment
bench_programs += tests/bench/bench_wal
