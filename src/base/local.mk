libmagicbiz_la_SOURCES += \
	src/base/bytes.c src/base/bytes.h \
	src/base/encode.c src/base/encode.h \
	src/base/error.c src/base/error.h \
	src/base/hash.c src/base/hash.h \
	src/base/json.c src/base/json_parse.c src/base/json.h \
	src/base/map.c src/base/map.h \
	$(empty)
fuzz_targets += tests/fuzz/fuzz_json tests/fuzz/fuzz_encode
unit_tests += tests/unit/test_bytes tests/unit/test_encode tests/unit/test_error tests/unit/test_hash \
	tests/unit/test_json tests/unit/test_map
