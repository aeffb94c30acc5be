libmagicbiz_la_SOURCES += \
	src/include/magicbiz/applied.h \
	src/include/magicbiz/base.h \
	src/include/magicbiz/sign.h \
	src/include/magicbiz/tx.h \
	src/include/magicbiz/module.h src/include/magicbiz/loop.h src/include/magicbiz/http.h \
	src/ledger/access.c \
	src/ledger/apply.c \
	src/ledger/audit.c src/ledger/audit.h \
	src/ledger/base.c src/ledger/base.h \
	src/ledger/backend.h src/ledger/memory.c \
	src/ledger/block.c src/ledger/block.h \
	src/ledger/checkpoint.c \
	src/ledger/collect.c src/ledger/collect.h \
	src/ledger/command.c src/ledger/command.h \
	src/ledger/door.c \
	src/ledger/facts.c \
	src/ledger/genesis.c \
	src/ledger/header.c src/ledger/hooks.c \
	src/ledger/internal.h \
	src/ledger/ledger.c src/ledger/ledger.h \
	src/ledger/membership.c src/ledger/membership.h \
	src/ledger/message.c src/ledger/message.h \
	src/ledger/org.c src/ledger/org_beacon.c \
	src/ledger/org_replica.c \
	src/ledger/relay.c src/ledger/relay.h \
	src/ledger/run.c \
	src/ledger/seen.c \
	src/ledger/snapshot.c src/ledger/snapshot.h \
	src/ledger/tx.c \
	src/ledger/value.c \
	$(empty)
unit_tests += tests/unit/test_command tests/unit/test_block tests/unit/test_hooks tests/unit/test_beacon tests/unit/test_genesis \
	tests/unit/test_apply tests/unit/test_apply_backends tests/unit/test_access \
	tests/unit/test_snapshot tests/unit/test_audit tests/unit/test_membership tests/unit/test_collect tests/unit/test_base
fuzz_targets += tests/fuzz/fuzz_command tests/fuzz/fuzz_value tests/fuzz/fuzz_block_json \
	tests/fuzz/fuzz_snapshot tests/fuzz/fuzz_genesis tests/fuzz/fuzz_membership tests/fuzz/fuzz_base
bench_programs += tests/bench/bench_apply
