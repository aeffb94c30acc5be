libmagicbiz_la_SOURCES += \
	src/include/magicbiz/applied.h \
	src/include/magicbiz/base.h \
	src/include/magicbiz/sign.h \
	src/include/magicbiz/tx.h \
	src/include/magicbiz/module.h src/include/magicbiz/loop.h src/include/magicbiz/http.h \
	src/ledger/audit.h \
	src/ledger/backend.h src/ledger/memory.c \
	src/ledger/block.h \
	src/ledger/command.h \
	src/ledger/ledger.h \
	src/ledger/message.h \
	src/ledger/snapshot.h \
	$(empty)
