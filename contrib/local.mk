EXTRA_DIST += contrib/check contrib/fresh contrib/lib.sh contrib/packages contrib/quickstart \
	contrib/testnet contrib/magicbizd.service
integration_tests += tests/integration/testnet.sh tests/integration/tor.sh tests/integration/anonymity.sh

# Loaded when it is first asked for.
bashcompletiondir = $(datadir)/bash-completion/completions
dist_bashcompletion_DATA = contrib/completions/magicbiz
