libmagicbiz_la_SOURCES += \
	src/http/body.c \
	src/http/client.c \
	src/http/client.h \
	src/http/internal.h \
	src/http/path.c \
	src/http/path.h \
	src/http/reply.c \
	src/http/request.c \
	src/http/server.c \
	src/http/server.h \
	$(empty)
unit_tests += tests/unit/test_http_client tests/unit/test_http_path tests/unit/test_http_server
fuzz_targets += tests/fuzz/fuzz_http_path tests/fuzz/fuzz_http_route
bench_programs += tests/bench/bench_http
