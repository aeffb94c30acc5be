module_LTLIBRARIES += modules/books.la
modules_books_la_SOURCES = modules/books/books.c
modules_books_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared
modules_books_la_LIBADD = modules/books/libbooks.la libmagicbiz.la $(JANSSON_LIBS)

# What touches nothing outside: tests link it too.
noinst_LTLIBRARIES += modules/books/libbooks.la
modules_books_libbooks_la_SOURCES = \
	modules/books/books.h modules/books/books_state.h \
	modules/books/books_apply.c \
	modules/books/books_decay_apply.c \
	modules/books/books_names_apply.c \
	modules/books/books_post_apply.c

unit_tests += tests/unit/test_books_apply
tests_unit_test_books_apply_LDADD = modules/books/libbooks.la $(LDADD)
bench_programs += tests/bench/bench_books
tests_bench_bench_books_LDADD = modules/books/libbooks.la $(LDADD)
integration_tests += tests/integration/books.sh
