libmagicbiz_la_SOURCES += \
	src/sign/key.h \
	src/sign/pushcert.h \
	src/sign/sshsig.h \
	$(empty)
