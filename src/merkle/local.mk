libmagicbiz_la_SOURCES += \
	src/merkle/history.c \
	src/merkle/history.h \
	src/merkle/page.c \
	src/merkle/page.h \
	src/merkle/proof.c \
	src/merkle/tree.c \
	src/merkle/tree.h \
	$(empty)
unit_tests += tests/unit/test_history tests/unit/test_tree
fuzz_targets += tests/fuzz/fuzz_state_proof tests/fuzz/fuzz_tree_page
