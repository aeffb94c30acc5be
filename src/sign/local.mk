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
