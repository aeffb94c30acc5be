libmagicbiz_la_SOURCES += \
	src/include/magicbiz/rules.h \
	src/rules/arena.c src/rules/arena.h \
	src/rules/bytecode.c \
	src/rules/cage.c src/rules/cage.h \
	src/rules/convert.c \
	src/rules/internal.h \
	src/rules/lib_base.c \
	src/rules/lib_mb.c \
	src/rules/lib_string.c \
	src/rules/lib_table.c \
	src/rules/pattern.c src/rules/pattern.h \
	src/rules/source.c src/rules/source.h \
	$(empty)
unit_tests += tests/unit/test_cage
tests_unit_test_cage_LDADD = $(LDADD) $(LUA_LIBS)
fuzz_targets += tests/fuzz/fuzz_rulebook
bench_programs += tests/bench/bench_rules
