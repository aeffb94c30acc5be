libmagicbiz_la_SOURCES += \
	src/sign/key.h \
	src/sign/pushcert.h \
	src/sign/sshsig.h \
	$(empty)
unit_tests += tests/unit/test_ed25519_rule
