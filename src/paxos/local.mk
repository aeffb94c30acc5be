libmagicbiz_la_SOURCES += \
	src/paxos/message.c src/paxos/paxos.h \
	$(empty)
