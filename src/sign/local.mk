libmagicbiz_la_SOURCES += \
	src/sign/armor.c \
	src/sign/armor.h \
	src/sign/key.c \
	src/sign/key.h \
	src/sign/key_file.c \
	src/sign/pushcert.c \
	src/sign/pushcert.h \
	src/sign/ref.c \
	src/sign/sshsig.c \
	src/sign/sshsig.h \
	$(empty)
unit_tests += tests/unit/test_key tests/unit/test_pushcert tests/unit/test_sshsig
fuzz_targets += tests/fuzz/fuzz_key tests/fuzz/fuzz_pushcert tests/fuzz/fuzz_sshsig
EXTRA_DIST += tests/unit/sign_vectors.h
