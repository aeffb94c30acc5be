libmagicbiz_la_SOURCES += \
	src/paxos/acceptor.c \
	src/paxos/election.c \
	src/paxos/internal.h \
	src/paxos/leader.c \
	src/paxos/learner.c \
	src/paxos/message.c \
	src/paxos/paxos.c src/paxos/paxos.h \
	src/paxos/reads.c \
	$(empty)
unit_tests += tests/unit/test_paxos
